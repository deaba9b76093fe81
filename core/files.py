"""Writing files and folders so that a reader never sees half of one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import DecodebenchError


@contextmanager
def whole_file(path: Path, scratch_folder: Path | None = None) -> Iterator[Path]:
    """Give the path of a scratch file that takes the place of ``path`` at the end.

    Args:
        path: the file to write; its folder is made if needed.
        scratch_folder: an existing folder of the same file system to write in; None: the folder of ``path``.

    Raises:
        DecodebenchError: it cannot be written; what stood there before is untouched.
    """
    scratch = _scratch(scratch_folder or path.parent)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield scratch
        scratch.replace(path)
    except OSError as error:
        raise DecodebenchError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # it has gone to its place, or could not be made
            scratch.unlink()


def write_whole(path: Path, content: str | bytes, scratch_folder: Path | None = None) -> Path:
    """Write a file so that a reader never sees half of it, text as UTF-8 with its line ends as they are.

    Args:
        path: the file to write; its folder is made if needed.
        content: all of it.
        scratch_folder: see ``whole_file``.

    Returns:
        The path.

    Raises:
        DecodebenchError: it cannot be written; what stood there before is untouched.
    """
    with whole_file(path, scratch_folder) as scratch:
        scratch.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give an empty scratch folder that takes the name ``path`` at the end, unless another process was quicker.

    Args:
        path: the folder to make; those above it are made if needed.

    Raises:
        OSError: it cannot be made; nothing is left behind.
    """
    scratch = _scratch(path.parent)
    scratch.mkdir(parents=True)
    try:
        yield scratch
        try:
            scratch.rename(path)
        except OSError:
            if not path.is_dir():
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _scratch(folder: Path) -> Path:
    """Return a name that no other process or thread uses, short whatever the final name is."""
    return folder / f".{os.urandom(8).hex()}.part"
