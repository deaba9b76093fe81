"""GGUF files: finding, converting, quantising and describing them, for every engine that reads them.

Weights are quantised with llama.cpp's own routine, so that the engines read the same bytes.

Imports: contract, sdk, sdk.sources. Imported by: api, collate, measure, plugins, sdk, sdk.chat.
"""
