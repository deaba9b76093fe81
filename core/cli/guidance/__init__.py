"""What helps to find a command and its settings: help under headings, completion, the user's config file.

Imports what ``cli`` imports; commands of ``cli`` import its ``sections`` and ``completion``.
"""
