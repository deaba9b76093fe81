"""What a process sees of where an engine runs: the server that a loaded backend names, and what is left of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ..contract.backend import Backend
from ..contract.model import ModelFacts
from ..measure.machine.process_tree import processes


def residence_of(backend: Backend, facts: ModelFacts, use: Callable[[], object]) -> dict[str, Any]:
    """Use a loaded backend, close it, and look at its server before and after.

    Args:
        backend: with its model loaded.
        facts: what it says of the model.
        use: lets it generate.

    Returns:
        ``server`` as the backend names it, ``facts``, ``is_below``: whether it is a process below this one, and
        ``left``: the ids of its processes that live on after ``close``.
    """
    server = backend.server
    tree = [] if server is None or server.pid is None else processes(server.pid)
    is_below = bool(tree) and tree[0] in processes(os.getpid())
    use()
    backend.close()
    left = [process for process in tree if processes(process)]
    told = None if server is None else asdict(server)
    return {"server": told, "facts": asdict(facts), "is_below": is_below, "left": left}
