"""``python -m decodebench`` is the ``decodebench`` command."""

from .core.cli.main import main

main()
