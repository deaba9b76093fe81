"""One checkpoint per family, written once."""

from __future__ import annotations

import pytest

from .checkpoints import save


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("diffusion")
    return {family: save(root / family, family) for family in ("v2", "dream", "llada")}
