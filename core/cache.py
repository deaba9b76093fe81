"""The cache of prepared models: content-addressed folders, written atomically, safe between processes."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_cache_path


def default_root() -> Path:
    """Return the cache folder: ``DECODEBENCH_CACHE`` or the user's cache folder."""
    override = os.environ.get("DECODEBENCH_CACHE")
    return Path(override) if override else user_cache_path("decodebench", appauthor=False)


class ModelCache:
    """Folders by key below one root; an entry appears whole or not at all."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or default_root()

    def entry(self, label: str, *key: str, build: Callable[[Path], None]) -> Path:
        """Return the folder for ``key``, built now unless it is there.

        Two processes that ask for one key at once build it once: the second waits for the first.

        Args:
            label: readable start of the folder's name, e.g. ``"gguf-tiny-target-q8_0"``.
            key: everything the content depends on: content hash, converter version, engine version, ...
            build: fills the empty folder that it is given; on an exception nothing is kept.
        """
        digest = hashlib.sha256("\0".join(key).encode()).hexdigest()[:16]
        safe = "".join(c if c.isalnum() or c in "._-" else "-" for c in label)
        final = self.root / f"{safe}-{digest}"
        if final.is_dir():
            return final
        self.root.mkdir(parents=True, exist_ok=True)
        with self._lock(final.name):
            if not final.is_dir():
                self._build(final, build)
        return final

    def _build(self, final: Path, build: Callable[[Path], None]) -> None:
        temporary = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=self.root))
        try:
            build(temporary)
            temporary.rename(final)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    @contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        with (self.root / f".{name}.lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
