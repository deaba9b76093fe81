"""The command line: parses, calls the Python API, prints. ``main`` knows the commands by name only.

Imports every room, each where a command needs it; nothing imports it but ``__main__``.
"""
