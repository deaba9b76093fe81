"""What an engine prints is kept up to a limit, its beginning and its end."""

from __future__ import annotations

import subprocess
import sys
import time

from decodebench import defaults
from decodebench.core.isolation.processes.engine_text import engine_text_file

PRINTS = "import os, sys\nfor i in range(40): os.write(2, (f'{i:05d}' + 'x' * 9994 + chr(10)).encode())"


def test_the_middle_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(defaults, "ENGINE_TEXT_BYTES", 100_000)
    path = tmp_path / "engine.txt"
    with engine_text_file(path) as file:
        for _ in range(3):
            subprocess.run([sys.executable, "-c", PRINTS], stderr=file, check=True)
            end = time.monotonic() + 10
            while path.stat().st_size > 100_000 and time.monotonic() < end:
                time.sleep(0.05)
        subprocess.run([sys.executable, "-c", "import os; os.write(2, b'last words')"], stderr=file, check=True)
    content = path.read_bytes()
    assert len(content) < 100_000 and content.startswith(b"00000x") and content.endswith(b"x\nlast words")
    assert content.count(b"were left out here") >= 1


def test_an_engine_that_prints_nothing_leaves_no_file(tmp_path):
    with engine_text_file(tmp_path / "engine.txt"):
        pass
    assert not list(tmp_path.iterdir())
