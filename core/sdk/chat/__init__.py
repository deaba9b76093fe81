"""Chat templates: found in whatever container a model comes in, and rendered as transformers renders them.

A template is code from whoever published the model. It runs in Jinja's sandbox, in a process of its own whose time and
memory are limited.

Imports: sdk, sdk.gguf. Imported by: measure, plugins.
"""
