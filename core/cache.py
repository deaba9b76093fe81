"""The cache of prepared models: content-addressed folders, complete and as they were written, or made again."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from platformdirs import user_cache_path

from .errors import DecodebenchError, ModelError, UsageError
from .files import size_text, whole_folder, write_whole
from .foreign_text import path_part

CHECKSUMS = "SHA256SUMS"
"""The file of an entry that lists its other files, as ``sha256sum --check`` reads it. Its time is that of last use."""

_IS_SHA256 = re.compile("[0-9a-f]{64}")
_HASH_CACHE_FROM_BYTES = 32 * 2**20  # below, hashing costs less than looking the hash up
_ENTRY = re.compile(r"^[^.].*-(?P<digest>[0-9a-f]{16})$")
_SCRATCH = re.compile(r"^\.(?P<digest>[0-9a-f]{16})\.part$")


def default_root() -> Path:
    """Return the cache folder: ``DECODEBENCH_CACHE`` or the user's cache folder."""
    override = os.environ.get("DECODEBENCH_CACHE")
    return Path(override) if override else user_cache_path("decodebench", appauthor=False)


@dataclass(frozen=True, slots=True)
class Entry:
    """One prepared model.

    Attributes:
        path: its folder.
        size_bytes: of its files.
        made: when it was written, in seconds since 1970.
        used: when it was last asked for, in seconds since 1970.
    """

    path: Path
    size_bytes: int
    made: float
    used: float


class ModelCache:
    """Folders by key below one root; an entry appears whole or not at all, and is checked on every use.

    Attributes:
        root: the folder.
        notices: what was found damaged and made again, and where else a model came from, a line each, for the user.
        announce: is told before something large is made, a line; the command line prints it.
    """

    announce: ClassVar[Callable[[str], object] | None] = None

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or default_root()
        self.notices: list[str] = []

    def entry(
        self, label: str, *key: str, build: Callable[[Path], None], peak_bytes: int = 0, announcement: str = ""
    ) -> Path:
        """Return the folder for ``key``, built now unless it is there with the content that it was built with.

        Two processes that ask for one key at once build it once: the second waits for the first. A key has one entry,
        whatever the labels under which it is asked for.

        Args:
            label: readable start of the folder's name, e.g. ``"gguf-tiny-target-q8_0"``.
            key: everything the content depends on: content hash, converter version, engine version, ...
            build: fills the empty folder that it is given; on an exception nothing is kept.
            peak_bytes: about how much disk that takes at its most.
            announcement: what the user is told before it is built.

        Raises:
            ModelError: the disk has no room for it; says how much it takes.
        """
        digest = hashlib.sha256("\0".join(key).encode()).hexdigest()[:16]
        found = self._find(digest)
        if found is not None and self._damage(found) is None:
            return _used(found)
        sweep(self.root)
        with _lock(self.root, digest):
            found = self._find(digest)
            damage = None if found is None else self._damage(found)
            if found is not None:
                if damage is None:
                    return _used(found)
                self.notices.append(f"prepared model {found.name} is made again: {damage}")
                shutil.rmtree(found)
            self._check_room(label, peak_bytes)
            if announcement and ModelCache.announce is not None:
                ModelCache.announce(announcement)
            final = self.root / f"{path_part(label)}-{digest}"
            with whole_folder(final, scratch=self.root / f".{digest}.part") as scratch:
                build(scratch)
                _write_checksums(scratch)
        return final

    def _check_room(self, label: str, peak_bytes: int) -> None:
        free = shutil.disk_usage(self.root).free
        if peak_bytes > free:
            raise ModelError(
                f"{label} takes about {size_text(peak_bytes)} of disk while it is made, and {self.root} has "
                f"{size_text(free)} free: delete prepared models (decodebench cache --prune), or name another "
                "folder in DECODEBENCH_CACHE",
                code="no-disk-space",
            )

    def file_hash(self, file: Path) -> str:
        """Return the SHA-256 of a file, hex; that of a large one is kept until the file changes.

        Raises:
            OSError: it cannot be read.
        """
        status = file.stat()
        if status.st_size < _HASH_CACHE_FROM_BYTES:
            return sha256(file)
        # The time of the last change of status cannot be set back, as that of the content can.
        seen = (file.resolve(), status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        known = self.root / "hashes" / hashlib.sha256("\0".join(map(str, seen)).encode()).hexdigest()
        if known.is_file() and _IS_SHA256.fullmatch(digest := known.read_text(errors="replace")):
            return digest
        digest = sha256(file)
        with suppress(DecodebenchError):  # a cache that is shared for reading
            write_whole(known, digest)
        return digest

    def _damage(self, folder: Path) -> str | None:
        """Say in what an entry is not as it was written; None where it is."""
        try:
            lines = (folder / CHECKSUMS).read_text(encoding="utf-8").splitlines()
            listed = {name: checksum for checksum, name in (line.split("  ", 1) for line in lines)}
        except FileNotFoundError:
            return f"it has no {CHECKSUMS}"
        except (OSError, ValueError) as error:
            return f"{CHECKSUMS} cannot be read ({error})"
        try:
            present = {path.relative_to(folder).as_posix(): path for path in _files(folder)}
            if different := sorted(listed.keys() ^ present.keys()):
                return f"{different[0]} is {'missing' if different[0] in listed else f'not in {CHECKSUMS}'}"
            damaged = next((name for name, path in present.items() if self.file_hash(path) != listed[name]), None)
        except OSError as error:
            return str(error)
        return None if damaged is None else f"{damaged} has changed since it was written"

    def _find(self, digest: str) -> Path | None:
        """Return the entry of a key, whatever its label was."""
        return next(iter(sorted(self.root.glob(f"[!.]*-{digest}"))), None)


def entries(root: Path) -> list[Entry]:
    """Return every entry of the cache at ``root``, by name."""
    folders = sorted(path for path in _listed(root) if _ENTRY.match(path.name) and path.is_dir())
    return [_described(folder) for folder in folders]


def remove(entry: Entry) -> None:
    """Delete an entry, unless another process is making it: then once it is made."""
    found = _ENTRY.match(entry.path.name)
    assert found is not None
    with _lock(entry.path.parent, found["digest"]):
        shutil.rmtree(entry.path, ignore_errors=True)


def sweep(root: Path) -> None:
    """Delete from the cache at ``root`` what preparations that were killed have left."""
    from filelock import Timeout

    for path in _listed(root):
        if found := _SCRATCH.match(path.name):
            with suppress(Timeout, OSError), _lock(root, found["digest"], blocking=False):
                shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _lock(root: Path, digest: str, *, blocking: bool = True) -> Iterator[None]:
    from filelock import FileLock  # here, since most commands build nothing

    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"cannot write to the cache {root}: {error.strerror}; DECODEBENCH_CACHE names another folder",
            code="write-failed",
        ) from error
    with FileLock(root / f".{digest}.lock", blocking=blocking):
        yield


def _listed(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / CHECKSUMS)


def _write_checksums(folder: Path) -> None:
    lines = [f"{sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in _files(folder)]
    (folder / CHECKSUMS).write_text("".join(lines), encoding="utf-8")


def _used(folder: Path) -> Path:
    with suppress(OSError):  # a cache that is shared for reading
        os.utime(folder / CHECKSUMS)
    return folder


def _described(folder: Path) -> Entry:
    size = sum(path.stat().st_size for path in _files(folder))
    made, checksums = folder.stat().st_mtime, folder / CHECKSUMS
    return Entry(folder, size, made, checksums.stat().st_mtime if checksums.is_file() else made)


def sha256(file: Path) -> str:
    """Return the SHA-256 of a file's content, hex."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
