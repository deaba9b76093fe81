"""A plugin that imports its engine at the top of its module."""

from __future__ import annotations

import twin_engine  # noqa: F401 - the mistake
from twins import Twin

from decodebench import hookimpl


class Importing(Twin):
    name = "twin-importing"


@hookimpl
def decodebench_backends():
    return [Importing]
