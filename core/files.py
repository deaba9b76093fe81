"""Writing files and folders so that a reader never sees half of one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import DecodebenchError


@contextmanager
def whole_file(path: Path, scratch_folder: Path | None = None, *, replaces: bool = True) -> Iterator[Path]:
    """Give the path of a scratch file that takes the place of ``path`` at the end.

    Args:
        path: the file to write; its folder is made if needed.
        scratch_folder: an existing folder of the same file system to write in; None: the folder of ``path``.
        replaces: whether it does so where another process was quicker, too.

    Raises:
        DecodebenchError: it cannot be written; the previous content is untouched.
    """
    scratch = _scratch(scratch_folder or path.parent)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield scratch
        if replaces or not path.exists():
            move_whole(scratch, path)
    except OSError as error:
        raise DecodebenchError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # it has gone to its place, or could not be made
            scratch.unlink()


def write_whole(path: Path, content: str | bytes, scratch_folder: Path | None = None) -> Path:
    """Write a file so that a reader never sees half of it; text as UTF-8, line ends unchanged.

    Args:
        path: the file to write; its folder is made if needed.
        content: all of it.
        scratch_folder: see ``whole_file``.

    Returns:
        The path.

    Raises:
        DecodebenchError: it cannot be written; the previous content is untouched.
    """
    with whole_file(path, scratch_folder) as scratch:
        scratch.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@contextmanager
def whole_folder(path: Path, *, scratch: Path | None = None) -> Iterator[Path]:
    """Give an empty scratch folder that takes the name ``path`` at the end, unless another process was quicker.

    Args:
        path: the folder to make; those above it are made if needed.
        scratch: a name beside it that nobody else uses meanwhile; what a killed process left there is deleted. None:
            a name of its own.

    Raises:
        OSError: it cannot be made; nothing is left behind.
    """
    scratch = scratch or _scratch(path.parent)
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        yield scratch
        for written in (*scratch.rglob("*"), scratch):
            _sync(written)
        try:
            scratch.rename(path)
            _sync(path.parent)
        except OSError:
            if not path.is_dir():
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def move_whole(part: Path, path: Path) -> None:
    """Give a file that is written its final name, once its content is on the disk; raises ``OSError``."""
    _sync(part)
    part.rename(path)
    _sync(path.parent)


def size_text(size: float) -> str:
    """Return a number of bytes as people read it: ``512 B``, ``1.5 GiB``."""
    from pydantic import ByteSize

    return ByteSize(size).human_readable(separator=" ")


def _sync(path: Path) -> None:
    """Have the system write a file's or folder's content to the disk; a rename could otherwise come before it."""
    if path.is_symlink() or not (path.is_file() or path.is_dir()):
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _scratch(folder: Path) -> Path:
    """Return a name that no other process or thread uses, short whatever the final name is."""
    return folder / f".{os.urandom(8).hex()}.part"
