"""What llama.cpp prints while it loads or quantises, kept for error messages and settings."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_WARNING, _ERROR = 2, 3  # enum ggml_log_level
_SAYS_MEMORY = re.compile(r"out of memory|unable to allocate|failed to allocate|alloc.* failed|cudaMalloc", re.I)
_SAYS_FLASH = re.compile(r"Flash Attention (?:was auto, set to )?(enabled|disabled)")


@dataclass(slots=True)
class EngineLog:
    """What the engine printed, as (level, text); texts may be parts of lines."""

    lines: list[tuple[int, str]] = field(default_factory=list)

    def _complaints(self) -> list[str]:
        return [text.strip() for level, text in self.lines if _WARNING <= level <= _ERROR and text.strip()]

    def last_words(self) -> str:
        """Return the last two warnings or errors in one line."""
        return "; ".join(self._complaints()[-2:]) or "it gave no reason"

    def says_memory(self) -> bool:
        """Whether the engine complained that memory ran out."""
        return any(_SAYS_MEMORY.search(text) for text in self._complaints())

    def flash_attention(self) -> str | None:
        """Return ``"on"`` or ``"off"`` where the engine says what ``auto`` became."""
        for _, text in self.lines:
            if found := _SAYS_FLASH.search(text):
                return "on" if found[1] == "enabled" else "off"
        return None


@contextmanager
def engine_log() -> Iterator[EngineLog]:
    """Keep what the engine says while it loads; everything still goes to stderr.

    Afterwards the engine prints by itself again: llama-cpp-python's own Python callback would cost time for every
    line that it prints while it decodes.
    """
    import llama_cpp

    log = EngineLog()

    def keep(level: int, text: bytes, _user_data: int | None) -> None:
        os.write(2, text)
        log.lines.append((level, text.decode(errors="replace")))

    callback = llama_cpp.llama_log_callback(keep)  # must outlive its last call
    default = llama_cpp.llama_log_callback()  # NULL: the engine's own
    llama_cpp.llama_log_set(callback, ctypes.c_void_p(0))
    try:
        yield log
    finally:
        llama_cpp.llama_log_set(default, ctypes.c_void_p(0))
