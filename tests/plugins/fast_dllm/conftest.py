"""One checkpoint per family, written once, and backends, loaded once per checkpoint and options."""

from __future__ import annotations

import json

import pytest

from ..models import resolve
from .checkpoints import save


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("diffusion")
    return {family: save(root / family, family) for family in ("v2", "dream", "llada")}


@pytest.fixture(scope="session")
def backends(folders):
    from decodebench.plugins.fast_dllm.backend import FastDllmBackend

    loaded = {}

    def load(folder, **options):
        folder = folders.get(folder, folder)
        key = (folder, json.dumps(options, sort_keys=True))
        if key not in loaded:
            settings = FastDllmBackend.Options.model_validate({"dtype": "float64", "n_threads": 1, **options})
            prepared = FastDllmBackend.prepare(resolve(folder), "none", "cpu", settings, None)
            loaded[key] = FastDllmBackend()
            loaded[key].load(prepared, "cpu", settings)
        return loaded[key]

    return load
