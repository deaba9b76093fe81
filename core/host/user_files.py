"""What belongs to the user and to no experiment: the config file, and the folder of environments made for plugins."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..errors import UsageError


def config_file() -> Path:
    """Return the user's config file: ``DECODEBENCH_CONFIG``, or ``config.toml`` in the user's config folder."""
    override = os.environ.get("DECODEBENCH_CONFIG")
    if override:
        return Path(override)
    from platformdirs import user_config_path

    return user_config_path("decodebench", appauthor=False) / "config.toml"


def data_folder() -> Path:
    """Return the folder of what decodebench keeps for the user: ``DECODEBENCH_DATA``, or the user's data folder."""
    override = os.environ.get("DECODEBENCH_DATA")
    if override:
        return Path(override)
    from platformdirs import user_data_path

    return user_data_path("decodebench", appauthor=False)


def read_config() -> dict[str, Any]:
    """Read the config file; empty where there is none.

    Raises:
        UsageError: it cannot be read or is not TOML.
    """
    file = config_file()
    if not file.is_file():
        return {}
    import tomllib

    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: not UTF-8 text (byte {error.start})", code="file-unreadable") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{file}: {error}", code="file-unreadable") from error


def user_table(name: str) -> dict[str, Any]:
    """Return a table of the user's config file; empty if there is none. A plugin reads the one with its own name.

    Raises:
        UsageError: the file cannot be read, or has something else under that name.
    """
    table = read_config().get(name, {})
    if not isinstance(table, dict):
        raise UsageError(f"{config_file()}: [{name}] must be a table, not {table!r}", code="bad-value")
    return table


def plugin_files() -> list[Path]:
    """Return the one-off plugins that are always loaded: ``files`` of the config's table ``[plugins]``.

    Raises:
        UsageError: they are no list of paths.
    """
    table = read_config().get("plugins", {})
    files = table.get("files", []) if isinstance(table, dict) else []
    if not isinstance(files, list) or not all(isinstance(file, str) and file for file in files):
        raise UsageError(
            f"{config_file()}: [plugins]: files = {files!r}: must be a list of paths of Python files", code="bad-value"
        )
    return [config_file().parent.absolute() / Path(file).expanduser() for file in files]
