"""``--trace-plugins``: says on the error output what is called in which plugin, and how long it takes."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

TRACE_VARIABLE = "DECODEBENCH_TRACE_PLUGINS"


@contextmanager
def traced(what: str, plugin: str) -> Iterator[None]:
    """Time one call into a plugin; says nothing unless the user asked for it.

    Args:
        what: the hook, or ``"import"``.
        plugin: whom it calls, with the distribution.
    """
    if not os.environ.get(TRACE_VARIABLE):
        yield
        return
    start = time.perf_counter()
    outcome = "raised"
    try:
        yield
        outcome = ""
    finally:
        milliseconds = 1000 * (time.perf_counter() - start)
        sys.stderr.write(f"trace: {milliseconds:9.3f} ms  host -> {plugin}  {what}  {outcome}".rstrip() + "\n")
