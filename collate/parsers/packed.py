"""Logs that are compressed, in a zip or in a tar: unpacked into a folder while they are looked at, within limits."""

from __future__ import annotations

import gzip
import tarfile
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

_GZIP, _ZSTD, _ZIP, _TAR = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04", b"ustar"
_TAR_AT = 257
_OTHERS = {b"\xfd7zXZ\0": "xz", b"BZh": "bzip2", b"7z\xbc\xaf": "7-Zip", b"Rar!": "RAR", b"PK\x03\x04": "zip"}
_DEEPEST = 3  # a log that was compressed, in an archive that was compressed
_MOST_FILES = 10_000
_MOST_RATIO = 500  # text is packed by 10, repetitive text by 100; what is packed by more is there to fill a disk
_FREE_BYTES = 20 * 10**6  # for which the ratio does not matter
_PIECE_BYTES = 2**20
_DAMAGE = (
    EOFError, OSError, RuntimeError, NotImplementedError, zlib.error, zipfile.BadZipFile, zstandard.ZstdError,
    tarfile.TarError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plain:
    """A file as its tool wrote it.

    Attributes:
        path: where it is now.
        origin: the file that the user has; a file in an archive is named as if that were a folder.
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
    if not _kind_of(path):
        yield [Plain(path, path)]
        return
    with TemporaryDirectory(prefix="decodebench-") as folder:
        room = _Room(path, Path(folder))
        try:
            found = list(_inside(Plain(path, path), room, _DEEPEST))
        except _DAMAGE as error:
            raise RawLogError(f"cannot be unpacked: {error or type(error).__name__}") from error
        if not found:
            raise RawLogError("no file in it")
        yield found


def packed_with(head: bytes) -> str | None:
    """Return what a file that is not unpacked here is packed with, by its beginning; None where it is not packed."""
    return next((name for begin, name in _OTHERS.items() if head.startswith(begin)), None)


def _kind_of(path: Path) -> bytes | None:
    with path.open("rb") as file:
        begin = file.read(_TAR_AT + len(_TAR))
    if begin[_TAR_AT:] == _TAR:
        return _TAR
    if begin.startswith(_ZIP):
        return _ZIP if path.suffix.lower() == ".zip" else None
    return next((kind for kind in (_GZIP, _ZSTD) if begin.startswith(kind)), None)


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


def _inside(packed: Plain, room: _Room, deepest: int) -> Iterator[Plain]:
    """Yield the files in a file, those in archives within it included."""
    kind = _kind_of(packed.path) if deepest else None
    if kind is None:
        yield packed
        return
    members = {_TAR: _in_tar, _ZIP: _in_zip}.get(kind)
    for inner in members(packed, room) if members else [_only(packed, kind, room)]:
        yield from _inside(inner, room, deepest - 1)


def _only(packed: Plain, kind: bytes, room: _Room) -> Plain:
    path = packed.path
    is_named = path.suffix.lower() in (".gz", ".zst", ".zstd") and path.stem
    name = path.stem if is_named else path.name
    if kind == _GZIP:
        with gzip.open(path) as source:
            return Plain(room.copy(_pieces(source, _PIECE_BYTES), name), packed.origin)
    with path.open("rb") as source:
        return Plain(room.copy(_zstd(source), name), packed.origin)


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


def _in_zip(packed: Plain, room: _Room) -> Iterator[Plain]:
    with zipfile.ZipFile(packed.path) as archive:
        for member in archive.infolist():
            if not member.is_dir() and (name := _name_of(member.filename)):
                with archive.open(member) as source:
                    copy = room.copy(_pieces(source, _PIECE_BYTES), name)
                yield Plain(copy, packed.origin / member.filename)


def _in_tar(packed: Plain, room: _Room) -> Iterator[Plain]:
    with tarfile.open(packed.path) as archive:
        for member in archive:
            source = archive.extractfile(member) if member.isreg() else None
            if source is not None and (name := _name_of(member.name)):
                yield Plain(room.copy(_pieces(source, _PIECE_BYTES), name), packed.origin / member.name)


def _name_of(member: str) -> str:
    """Return the name of a file in an archive; empty for what macOS puts beside each."""
    place = PurePosixPath(member)
    return "" if "__MACOSX" in place.parts or place.name.startswith("._") else place.name
