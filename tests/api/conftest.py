"""The Python API within the tests' own process, on the backend of the tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from decodebench.core.api.plugins import installed_plugins

FAULTY = Path(__file__).parent.parent / "faulty_plugin"
MATRIX = {"backends": "faulty", "model": "tiny:draft", "quantisations": "f32", "task": "tiny-gsm"}
SMALL = {"samples": 2, "rounds": 2, "max_new_tokens": 8}


@pytest.fixture(scope="session")
def plugins(tmp_path_factory, cache):
    """Let this process and its workers find the backend of the tests, with a cache and a config of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DECODEBENCH_CACHE", str(cache))
        patch.setenv("DECODEBENCH_CONFIG", str(tmp_path_factory.mktemp("home") / "config.toml"))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("PYTHONPATH", str(FAULTY))
        patch.setattr(sys, "path", [str(FAULTY), *sys.path])
        installed_plugins.cache_clear()
        yield
    installed_plugins.cache_clear()


@pytest.fixture(scope="session")
def measured(plugins, tmp_path_factory):
    """An experiment of two cells, what was told while it ran, and its folder."""
    import decodebench

    folder, told = tmp_path_factory.mktemp("api") / "results", []
    options = {"step_s": [0.0, 0.002]}
    experiment = decodebench.run(**MATRIX, **SMALL, options=options, output=folder, progress=told.append)
    return experiment, told, folder
