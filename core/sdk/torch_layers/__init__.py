"""Decoder layers in PyTorch over static caches: what plugins with a decoding loop of their own build networks from.

Only a plugin that runs on torch imports this package; importing it imports no torch.

Imports: sdk. Imported by: plugins.
"""
