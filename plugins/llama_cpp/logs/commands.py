"""The model that commands on a page name: `$ llama-cli -m models/Qwen3-4B-Q4_K_M.gguf -p hi`."""

from __future__ import annotations

import re
from collections.abc import Iterable

_FILE = re.compile(r"(?:(?<!\S)-m|--model)[ =]+['\"]?(\S{1,500}?\.gguf)")


def file_in(lines: Iterable[str]) -> str:
    """Return the file that commands name; empty where they name none, or several."""
    files = {file for line in lines if ".gguf" in line for file in _FILE.findall(line)}
    return files.pop() if len(files) == 1 else ""
