"""MLC-LLM itself, where it is installed: its own commands prepare a model, its engine generates.

Written against the published sources of ``mlc_llm`` (``serve/sync_engine.py``, ``serve/data.py``, ``protocol``). The
engine is stepped by hand: every step hands over the token ids of its forward pass, so that the host stamps each one.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import BackendError, ModelCache, ModelError
from ...core.contract.generation import Request, Step
from ...core.contract.model import ResolvedModel
from .config import CHAT_CONFIG, is_mlc_folder
from .quantisations import OWN

if TYPE_CHECKING:
    import numpy as np

_LIBRARY = "model-lib.so"
_INSTALL = "pip install --pre -U -f https://mlc.ai/wheels mlc-llm-nightly-cpu mlc-ai-nightly-cpu (or -cu1xx for CUDA)"
KINDS = ("cuda", "rocm", "metal", "vulkan", "opencl")
"""Devices that MLC-LLM compiles for beside the CPU, in its own words."""


def is_installed() -> bool:
    """Whether ``mlc_llm`` can be imported; it is not imported."""
    return find_spec("mlc_llm") is not None


def require() -> None:
    """Raise ``BackendError`` where MLC-LLM is not installed."""
    if not is_installed():
        raise BackendError(f"engine=mlc_llm needs MLC-LLM, which is not on the package index: {_INSTALL}")


def devices() -> list[str]:
    """List the GPUs that the installed TVM drives."""
    import tvm

    return [kind if kind == "metal" else f"{kind}:0" for kind in KINDS if tvm.device(kind, 0).exist]


def folder(model: ResolvedModel, quantisation: str, device: str, cache: ModelCache) -> Path:
    """Return a folder in MLC's format with the compiled library in it, from the cache or made by MLC-LLM's commands.

    Raises:
        ModelError: a format that MLC-LLM does not have, or one of its commands failed; holds its last words.
    """
    if quantisation in OWN:
        raise ModelError(f"quantisation {quantisation!r} is not one of MLC-LLM's; use engine=tvm")

    def build(target: Path) -> None:
        source = model.path
        if is_mlc_folder(source):
            for file in source.iterdir():
                (target / file.name).symlink_to(file.resolve())
        else:
            config = str(source / "config.json")
            _run("gen_config", config, "--quantization", quantisation, "--conv-template", "LM", "-o", str(target))
            _run("convert_weight", config, "--quantization", quantisation, "-o", str(target))
        kind = device.partition(":")[0]
        _run("compile", str(target / CHAT_CONFIG), "--device", kind, "-o", str(target / _LIBRARY))

    key = ("mlc_llm", quantisation, device, model.content_hash, _version())
    return cache.entry(f"mlc-llm-{model.path.name}-{quantisation}", *key, build=build)


def _version() -> str:
    import mlc_llm

    return str(getattr(mlc_llm, "__version__", "unknown"))


def _run(*arguments: str) -> None:
    ended = subprocess.run([sys.executable, "-m", "mlc_llm", *arguments], capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        words = " ".join((ended.stderr or ended.stdout).split())[-300:]
        raise ModelError(f"mlc_llm {arguments[0]} failed: {words}")


class StockEngine:
    """MLC-LLM's engine, one request at a time, no prefix cache.

    Args:
        path: what ``folder`` returned.
        device: where it runs.
    """

    def __init__(self, path: Path, device: str) -> None:
        from mlc_llm.serve.config import EngineConfig
        from mlc_llm.serve.sync_engine import SyncMLCEngine

        self._arrived: list[int] = []
        self._count = 0
        self._engine: Any = SyncMLCEngine(
            str(path),
            device,
            model_lib=str(path / _LIBRARY),
            mode="interactive",
            engine_config=EngineConfig(prefix_cache_mode="disable", verbose=False),
            request_stream_callback=self._take,
        )

    def generate(self, request: Request) -> Iterator[Step]:
        """Continue one prompt; the stop token is committed, so the engine itself never stops at one.

        Raises:
            BackendError: top-k sampling, which this engine lacks.
        """
        if request.top_k > 0:
            raise BackendError("MLC-LLM has no top-k sampling; use engine=tvm or top_k=0")
        self._count += 1
        name = str(self._count)
        self._engine.add_request(self._request(name, request))
        left = request.max_new_tokens
        try:
            while left:
                self._engine.step()
                while self._arrived and left:
                    token = self._arrived.pop(0)
                    left -= 1
                    yield Step((token,), forwards=1)
                    if request.is_stop(token):
                        return
        finally:
            self._engine.abort_request(name)
            self._engine.reset()
            self._arrived.clear()

    def _request(self, name: str, request: Request) -> Any:  # noqa: ANN401 - an object of the engine
        from mlc_llm.protocol.debug_protocol import DebugConfig
        from mlc_llm.protocol.generation_config import GenerationConfig
        from mlc_llm.serve.data import TokenData

        config = GenerationConfig(
            temperature=request.temperature,
            top_p=request.top_p,
            max_tokens=request.max_new_tokens,
            seed=request.seed,
            stop_token_ids=[],
            debug_config=DebugConfig(ignore_eos=True),
        )
        return self._engine.create_request(name, TokenData(list(request.prompt_ids)), config)

    def _take(self, outputs: Sequence[Any]) -> None:
        for output in outputs:
            _, streams = output.unpack()
            self._arrived.extend(streams[0].delta_token_ids)

    def logits(self, tokens: Sequence[int]) -> Iterator[np.ndarray]:
        """Raise ``BackendError``: the engine gives no logits of a given sequence."""
        raise BackendError("MLC-LLM scores no given sequence; use engine=tvm")
