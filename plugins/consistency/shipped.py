"""The tables that ship with the package: published results, digits as printed."""

from __future__ import annotations

from pathlib import Path

from ... import UsageError
from .table_file import TableFile, read

_FOLDER = Path(__file__).parent / "tables"


def shipped() -> dict[str, TableFile]:
    """Return the tables that ship, by name."""
    return {path.stem: read(path) for path in sorted(_FOLDER.glob("*.toml"))}


def find(name: str) -> Path:
    """Return the file of that path, else the table of that name that ships.

    Raises:
        UsageError: there is neither.
    """
    path, known = Path(name), {path.stem: path for path in _FOLDER.glob("*.toml")}
    if path.exists() or path.suffix or len(path.parts) > 1:
        return path
    if name not in known:
        raise UsageError(
            f"no file and no table {name!r}; --list shows those that ship: {', '.join(sorted(known))}",
            code="unknown-name",
        )
    return known[name]
