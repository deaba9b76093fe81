"""The plugin ``servers``: servers that are started for a round, those that are known well and the user's own."""

from __future__ import annotations

from collections.abc import Sequence

from ....core.contract.backend import Backend
from ....core.contract.hookspecs import hookimpl
from .backend import launched
from .recipes import recipes

decodebench_api = ">=3,<4"


@hookimpl
def decodebench_backends() -> Sequence[type[Backend]]:
    """Return a backend for each known server, and for each table ``[servers.NAME]`` of the user's config file."""
    return [launched(recipe) for recipe in recipes()]
