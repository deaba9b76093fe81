"""Logs that are compressed or in a zip: unpacked into a folder for as long as they are looked at, within limits."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO

import zstandard

from ... import defaults
from ...core.records.raw_log import RawLogError

_GZIP, _ZSTD, _ZIP = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04"
_MOST_FILES = 10_000
_MOST_RATIO = 500  # text is packed by 10, repetitive text by 100; what is packed by more is there to fill a disk
_FREE_BYTES = 20 * 10**6  # for which the ratio does not matter
_PIECE_BYTES = 2**20
_DAMAGE = (
    EOFError, OSError, RuntimeError, NotImplementedError, zlib.error, zipfile.BadZipFile, zstandard.ZstdError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plain:
    """A file as its tool wrote it.

    Attributes:
        path: where it is now.
        origin: the file that the user has; a file in a zip is named as if that were a folder.
    """

    path: Path
    origin: Path


@contextmanager
def unpacked(path: Path) -> Iterator[Sequence[Plain]]:
    """Give what is in a file: itself, or what it holds in packed form, as long as it is open.

    Raises:
        RawLogError: it is damaged, needs a password, or holds more than is read of another tool's logs.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        begin = file.read(4)
    if begin[:2] != _GZIP and begin != _ZSTD and not (begin == _ZIP and path.suffix.lower() == ".zip"):
        yield [Plain(path, path)]
        return
    with TemporaryDirectory(prefix="decodebench-") as folder:
        room = _Room(path, Path(folder))
        try:
            found = list(_members(path, room) if begin == _ZIP else [_only(path, begin, room)])
        except _DAMAGE as error:
            raise RawLogError(f"cannot be unpacked: {error or type(error).__name__}") from error
        if not found:
            raise RawLogError("no file in it")
        yield found


@dataclass(slots=True)
class _Room:
    """Where an archive is unpacked, and how much of it is there by now."""

    archive: Path
    folder: Path
    files: int = 0
    size: int = 0

    def copy(self, pieces: Iterable[bytes], name: str) -> Path:
        """Write a file into a folder of its own, so that it keeps its name.

        Raises:
            RawLogError: there are more files or bytes in the archive than are read.
        """
        self.files += 1
        if self.files > _MOST_FILES:
            raise RawLogError(f"more than {_MOST_FILES} files are in it")
        most = min(defaults.IMPORT_LIMIT_BYTES, max(_FREE_BYTES, _MOST_RATIO * self.archive.stat().st_size))
        target = self.folder / str(self.files) / name
        target.parent.mkdir()
        with target.open("wb") as file:
            for piece in pieces:
                self.size += len(piece)
                if self.size > most:
                    raise RawLogError(f"unpacked it is more than {most // 10**6} MB, which is not read")
                file.write(piece)
        return target


def _only(path: Path, begin: bytes, room: _Room) -> Plain:
    is_named = path.suffix.lower() in (".gz", ".zst", ".zstd") and path.stem
    name = path.stem if is_named else path.name
    if begin[:2] == _GZIP:
        with gzip.open(path) as source:
            return Plain(room.copy(_pieces(source, _PIECE_BYTES), name), path)
    with path.open("rb") as source:
        return Plain(room.copy(_zstd(source), name), path)


def _pieces(source: gzip.GzipFile | IO[bytes], size: int) -> Iterator[bytes]:
    return iter(lambda: source.read(size), b"")


def _zstd(source: IO[bytes]) -> Iterator[bytes]:
    """Yield the content of all frames; a kilobyte of them holds 32 MB at most."""
    frame = None
    for piece in _pieces(source, 1024):
        rest = piece
        while rest:
            frame = frame or zstandard.ZstdDecompressor().decompressobj()
            yield frame.decompress(rest)
            rest = frame.unused_data if frame.eof else b""
            frame = None if frame.eof else frame
    if frame is not None:
        raise EOFError("it ends inside a frame")


def _members(path: Path, room: _Room) -> Iterator[Plain]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            place = PurePosixPath(member.filename)
            if member.is_dir() or not place.name or place.parts[0] == "__MACOSX":
                continue
            with archive.open(member) as source:
                copy = room.copy(_pieces(source, _PIECE_BYTES), place.name)
            origin = path / member.filename
            with unpacked(copy) as inner:  # a log that was compressed before it was put into the zip
                if inner[0].path == copy:
                    yield Plain(copy, origin)
                else:
                    with inner[0].path.open("rb") as source:
                        yield Plain(room.copy(_pieces(source, _PIECE_BYTES), inner[0].path.name), origin)
