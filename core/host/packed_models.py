"""Models of the contract on their way to another process, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..contract.model import Container, PreparedModel, ResolvedModel
from ..records.schema import Record


class ModelJob(Record):
    """A ``ResolvedModel`` on its way to another process."""

    name: str
    path: Path
    content_hash: str
    architecture: str | None
    companions: dict[str, ModelJob] = {}
    container: Container = "safetensors"
    stored_format: str | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, model: ResolvedModel) -> ModelJob:
        """Pack a model."""
        companions = {name: cls.of(other) for name, other in model.companions.items()}
        return cls(
            name=model.name,
            path=model.path,
            content_hash=model.content_hash,
            architecture=model.architecture,
            companions=companions,
            container=model.container,
            stored_format=model.stored_format,
            notes=model.notes,
        )

    def unpack(self) -> ResolvedModel:
        """Return the model."""
        companions = {name: other.unpack() for name, other in self.companions.items()}
        return ResolvedModel(
            self.name,
            self.path,
            self.content_hash,
            self.architecture,
            companions,
            container=self.container,
            stored_format=self.stored_format,
            notes=self.notes,
        )


class PreparedJob(Record):
    """A ``PreparedModel`` on its way to another process."""

    path: Path
    format: str
    weight_bytes: int | None
    bits_per_weight: float | None
    source: ModelJob
    quantisation: str
    companions: dict[str, PreparedJob] = {}
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, model: PreparedModel) -> PreparedJob:
        """Pack a prepared model."""
        return cls(
            path=model.path,
            format=model.format,
            weight_bytes=model.weight_bytes,
            bits_per_weight=model.bits_per_weight,
            source=ModelJob.of(model.source),
            quantisation=model.quantisation,
            companions={name: cls.of(other) for name, other in model.companions.items()},
            notes=model.notes,
        )

    def unpack(self) -> PreparedModel:
        """Return the prepared model."""
        companions: Mapping[str, PreparedModel] = {name: other.unpack() for name, other in self.companions.items()}
        return PreparedModel(
            path=self.path,
            format=self.format,
            weight_bytes=self.weight_bytes,
            bits_per_weight=self.bits_per_weight,
            source=self.source.unpack(),
            quantisation=self.quantisation,
            companions=companions,
            notes=self.notes,
        )
