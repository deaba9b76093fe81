"""Where models come from besides a folder of safetensors: the Hub, and pickled checkpoints, rewritten once.

Imports: contract, sdk. Imported by: measure, sdk, sdk.gguf.
"""
