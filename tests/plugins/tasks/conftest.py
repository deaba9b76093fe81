"""Samples of every data set in its own structure, placed by hand as a user would."""

from __future__ import annotations

from pathlib import Path

import pytest

SAMPLES = Path(__file__).parents[2] / "data" / "tasks"


@pytest.fixture
def data_by_hand(monkeypatch):
    """Let tasks find the samples; returns their folder."""
    monkeypatch.setenv("DECODEBENCH_DATA", str(SAMPLES))
    return SAMPLES
