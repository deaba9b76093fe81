"""The cache of prepared models: content-addressed folders, written atomically, safe between processes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from platformdirs import user_cache_path

from .files import whole_folder


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
        from filelock import FileLock  # here, since most commands build nothing

        self.root.mkdir(parents=True, exist_ok=True)
        with FileLock(self.root / f".{final.name}.lock"):
            if not final.is_dir():
                with whole_folder(final) as scratch:
                    build(scratch)
        return final
