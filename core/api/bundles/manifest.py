"""What a bundle says of itself: ``bundle.json`` in it."""

from __future__ import annotations

import re

from pydantic import Field

from ...records.schema import Record

FORMAT = 1
MANIFEST, PLAN, ENVIRONMENT = "bundle.json", "plan.toml", "environment.json"
PLACE = re.compile(
    r"plan\.toml|environment\.json|raw/[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*\.jsonl"
    r"|inputs/(?:task|trace)/[^./\\:?\x00-\x1f][^/\\:?\x00-\x1f]*"
)
"""Where a file may be in a bundle."""


class PackedFile(Record):
    """A file of a bundle."""

    bytes: int = Field(ge=0, description="size")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="hash of its content")


class PackedCell(Record):
    """A cell of a bundle, and what it gave."""

    backend: str = Field(description="backend name")
    backend_version: str | None = Field(description="version of the engine")
    plugin: str | None = Field(description="distribution and version that provided the backend")
    plugin_revision: str | None = Field(description="as in a run")
    model: str = Field(description="model as the plan names it")
    model_hash: str | None = Field(description="SHA-256 over the model's files")
    rounds: int = Field(ge=0, description="rounds that ended with status ok")
    outputs: tuple[str, ...] = Field(
        description="hash over the outputs of a round, by prompt; several where rounds gave different ones"
    )


class Manifest(Record):
    """What is in a bundle."""

    format: int = Field(description="version of this layout")
    decodebench: str = Field(description="version that wrote it")
    experiment: str = Field(description="its name")
    hosts: tuple[str, ...] = Field(description="hashes of the names of the hosts that measured it")
    is_anonymised: bool = Field(description="whether names of hosts, users and their folders were replaced")
    secrets_removed: int = Field(ge=0, description="texts that looked like a secret and were replaced")
    cells: dict[str, PackedCell] = Field(description="by cell id, in the order of the plan")
    files: dict[str, PackedFile] = Field(description="every other file, by its place")
