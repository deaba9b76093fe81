"""The store as files of another format, in a folder or under a name of the user's."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from ..errors import UsageError, unknown_name
from ..files import whole_file
from ..records.store import Store
from .plugins import installed_plugins

_CSV = "csv"
_FILE = re.compile(r"\.[A-Za-z]\w*")  # what makes a name a file's; results-v1.2 is a folder


def write_export(store: Store, fmt: str, experiment: str | None, target: Path, *, cumulative_text: bool) -> list[Path]:
    """Write the store in a format and return the files; see ``Results.export``.

    Args:
        store: an open store.
        fmt: name of the format.
        experiment: which; None: all.
        target: a folder, or a file where it has the suffix of one and is no folder.
        cumulative_text: csv only: whole text so far in every row.
    """
    exporters = installed_plugins().exporters
    if fmt not in exporters:
        raise unknown_name("export format", fmt, exporters)
    if cumulative_text and fmt != _CSV:
        raise UsageError(
            f"--cumulative-text changes a column of --format csv; {fmt!r} has no such column", code="not-supported"
        )

    def write(folder: Path) -> list[Path]:
        if not cumulative_text:
            return list(exporters[fmt].write(store, experiment, folder))
        from ...collate.exporters.csv_tables import export_csv

        return export_csv(store, folder, experiment=experiment, cumulative_text=True)

    if target.is_dir() or not _FILE.fullmatch(target.suffix):
        return write(target)
    return [_write_one_file(write, target, fmt)]


def _write_one_file(write: Callable[[Path], list[Path]], target: Path, fmt: str) -> Path:
    with TemporaryDirectory() as scratch:
        written = write(Path(scratch))
        names = ", ".join(path.name for path in written) or "none"
        own = {path.suffix.lower() for path in written}
        if own and target.suffix.lower() not in own:
            raise UsageError(
                f"{target}: format {fmt!r} writes {' and '.join(sorted(own))} files ({names}): give such a name, or a "
                "folder, which one without a suffix is",
                code="wrong-suffix",
            )
        if len(written) != 1:
            raise UsageError(
                f"{target}: format {fmt!r} writes {len(written)} files here ({names}): give a folder",
                code="wrong-suffix",
            )
        with whole_file(target) as file:
            shutil.copyfile(written[0], file)
    return target
