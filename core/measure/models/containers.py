"""The models of a plan, each found once, and in a container that a backend reads."""

from __future__ import annotations

import atexit
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from ...cache import ModelCache
from ...contract.backend import Backend
from ...contract.model import Quantisation, ResolvedModel
from ...contract.model_source import ModelSource
from ...contract.options import BackendOptions
from ...errors import ModelError
from ...sdk.checkpoint import Checkpoint, foreign_weights, has_weight_files, read_tensors
from ...sdk.models import resolve
from ...sdk.sources.pickled_weights import unpickled


class Models:
    """Finds models by name, and turns GGUF models and pickled ones into folders with safetensors, once for all cells.

    Args:
        sources: named models of plugins.
        cache: where what is made is kept.
        converts: else nothing is made: a GGUF model becomes an outline that lasts as long as the process, a pickled one
            stays what it is.
    """

    def __init__(self, sources: Mapping[str, ModelSource], cache: ModelCache, *, converts: bool = True) -> None:
        self._sources, self._cache, self._converts = sources, cache, converts
        self._found: dict[str, ResolvedModel] = {}
        self._folders: dict[str, ResolvedModel] = {}

    def find(self, name: str) -> ResolvedModel:
        """Return the model of a name; see ``resolve``."""
        if name not in self._found:
            self._found[name] = resolve(name, self._sources, self._cache)
        return self._found[name]

    def with_companion(self, backend: type[Backend], model: ResolvedModel, options: BackendOptions) -> ResolvedModel:
        """Return ``model`` with the one companion that ``backend`` uses: its option's, else the named model's own."""
        if backend.companion_option is None:
            return model
        source = self._sources.get(model.name)
        own = source.companions.get(backend.name) if source else None
        name = getattr(options, backend.companion_option) or own
        return model if name is None else replace(model, companions={backend.name: self.find(name)})

    def readable(self, model: ResolvedModel, backend: type[Backend], quantisation: Quantisation) -> ResolvedModel:
        """Return a model and its companions in containers from which the backend makes the format.

        Raises:
            ModelError: there is no way from the one to the other, or weights are missing or damaged.
        """
        companions = {name: self.readable(other, backend, quantisation) for name, other in model.companions.items()}
        found = self._readable(model, backend, quantisation)
        if backend.residence != "remote":
            refuse_damaged(found, quantisation)
        return replace(found, companions=companions)

    def _readable(self, model: ResolvedModel, backend: type[Backend], quantisation: Quantisation) -> ResolvedModel:
        if model.container in quantisation.reads:
            return model
        refuse_container(model, backend, quantisation)
        if model.name not in self._folders:
            self._folders[model.name] = self._as_folder(model)
        return self._folders[model.name]

    def _as_folder(self, model: ResolvedModel) -> ResolvedModel:
        if model.container == "pickle":
            return unpickled(model, self._cache) if self._converts else model
        from ...sdk.gguf.folder import as_folder, outline

        if self._converts:
            return as_folder(model, self._cache)
        scratch = Path(mkdtemp(prefix="decodebench-outline-"))
        atexit.register(rmtree, scratch, ignore_errors=True)
        return outline(model, scratch)


def refuse_container(model: ResolvedModel, backend: type[Backend], quantisation: Quantisation) -> None:
    """Raise ``ModelError`` where a model is in a container that can be turned into none that the backend reads."""
    if model.container not in ("gguf", "pickle") or "safetensors" not in quantisation.reads:
        reads = " or ".join(_WORDS[container] for container in quantisation.reads)
        raise ModelError(
            f"model {model.name!r} is {_WORDS[model.container]}; backend {backend.name!r} prepares "
            f"{quantisation.name!r} from {reads}",
            code="container-unsupported",
        )


def refuse_damaged(model: ResolvedModel, quantisation: Quantisation, *, may_be_described: bool = False) -> None:
    """Raise ``ModelError`` where the weights that a backend would open are missing or damaged, as their headers say.

    Args:
        model: without its companions.
        quantisation: what the backend is to make of it.
        may_be_described: the description alone is enough of a model of the Hub, whose weights come later.
    """
    if model.container != "safetensors" or "safetensors" not in quantisation.reads or not model.path.is_dir():
        return
    is_described = may_be_described and _is_snapshot(model.path) and foreign_weights(model.path) is None
    if has_weight_files(model.path) or not is_described:
        read_tensors(model.path)
        _check_tensors(model.path, model.content_hash)


@lru_cache(maxsize=64)  # every cell of a plan asks
def _check_tensors(folder: Path, _content_hash: str) -> None:
    """Raise ``ModelError`` where the weights are not the tensors that a known architecture of the stated size has.

    Some engines would leave out what is too much, others find out only when they load.
    """
    from ...sdk.gguf.architecture import Shape
    from ...sdk.gguf.conversion import pair_tensors

    checkpoint = Checkpoint(folder)
    try:
        targets = Shape.of_any(checkpoint).targets()
        _ = checkpoint.tensors
    except ModelError:  # another architecture, or number formats that some engine may have
        return
    pair_tensors(checkpoint, targets)


def _is_snapshot(folder: Path) -> bool:
    """Whether a folder is a model's in the cache of the Hub's own library."""
    return folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--")


_WORDS = {
    "safetensors": "a Hugging Face folder with safetensors",
    "gguf": "a .gguf file",
    "pickle": "a Hugging Face folder with pickled weights",
    "mlc": "a folder in MLC's format",
}
