"""Which backends run in an interpreter of their own: the user's config says so, or ``plugins install --isolated``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import UsageError, unknown_name
from ..files import write_whole
from ..host.user_files import config_file, data_folder, read_config

TABLE = "backends"
_KEYS = ("python",)


def interpreters() -> dict[str, Path]:
    """Return the interpreter of every backend that has one of its own; the config file beats what was installed.

    Raises:
        UsageError: a table ``[backends.NAME]`` of the config file is not as it should be.
    """
    return {**_installed(), **dict(_configured(read_config()))}


def record(backends: Iterable[str], python: Path) -> None:
    """Remember that ``backends`` run in ``python``."""
    _write({**_installed(), **dict.fromkeys(backends, python)})


def forget(python: Path) -> None:
    """Forget every backend that runs in ``python``."""
    _write({name: other for name, other in _installed().items() if other != python})


def _configured(content: Mapping[str, Any]) -> Iterable[tuple[str, Path]]:
    tables = content.get(TABLE, {})
    for name, table in tables.items() if isinstance(tables, dict) else ():
        if not isinstance(table, dict):
            continue  # a flag of the command `backends`, whose table has the same name
        where = f"{config_file()}: [{TABLE}.{name}]"
        for key in table:
            if key not in _KEYS:
                raise UsageError(f"{where}: {unknown_name('key', key, _KEYS)}", code="unknown-name")
        python = table.get("python")
        if not isinstance(python, str) or not python:
            raise UsageError(f"{where}: python = {python!r}: must be the path of an interpreter", code="bad-value")
        # Not resolved: an environment's interpreter is a link, and what it links to knows nothing of the environment.
        yield name, config_file().parent.absolute() / Path(python).expanduser()


def _file() -> Path:
    return data_folder() / "interpreters.json"


def _installed() -> dict[str, Path]:
    try:
        content = json.loads(_file().read_text(encoding="utf-8"))
        return {name: Path(python) for name, python in content.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        advice = "delete it and run `decodebench plugins install --isolated` again"
        raise UsageError(f"{_file()}: {error}; {advice}", code="file-unreadable") from error


def _write(content: Mapping[str, Path]) -> None:
    write_whole(_file(), json.dumps({name: str(python) for name, python in content.items()}, indent=1))
