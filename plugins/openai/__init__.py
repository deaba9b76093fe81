"""The plugin ``openai``: running servers that answer over HTTP, and what is doubtful in measurements of any server."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.contract.backend import Backend
from ...core.contract.finding import FindingCheck
from ...core.contract.hookspecs import hookimpl
from .backend import OpenAIBackend
from .findings import FINDINGS

decodebench_api = ">=3,<4"


@hookimpl
def decodebench_backends() -> Sequence[type[Backend]]:
    """Return the client of running servers."""
    return [OpenAIBackend]


@hookimpl
def decodebench_findings() -> Sequence[FindingCheck]:
    """Return what is looked for where a client measured a server, whoever started it."""
    return FINDINGS
