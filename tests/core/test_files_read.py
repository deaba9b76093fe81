"""While logs are read for long, a terminal shows how many are done, and nothing of it stays."""

from __future__ import annotations

import io
import sys

import pytest

from decodebench.core.cli import output


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("error_output", "is_shown"), [(Terminal(), True), (io.StringIO(), False)])
def test_only_a_terminal_shows_how_many_logs_are_read(monkeypatch, error_output, is_shown):
    monkeypatch.setattr(sys, "stderr", error_output)
    monkeypatch.setattr(output, "_SHOWN_AFTER_S", 0.0)
    with output.FilesRead() as progress:
        progress(3, 17, "a.jsonl")
    assert ("3 of 17 logs read" in error_output.getvalue()) == is_shown


def test_what_is_soon_read_shows_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(output, "_SHOWN_AFTER_S", 60.0)
    with output.FilesRead() as progress:
        progress(3, 17, "a.jsonl")
    assert sys.stderr.getvalue() == ""
