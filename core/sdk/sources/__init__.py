"""Where models come from besides a folder of safetensors: the Hub, and pickled checkpoints, rewritten once.

Imports what ``sdk`` does; ``models`` finds a model by these.
"""
