"""MLC-LLM itself, where it is installed: its own commands prepare a model, its engine generates.

Written against the published sources of ``mlc_llm`` (``serve/sync_engine.py``, ``serve/data.py``, ``protocol``). The
engine is stepped by hand: every step hands over the token ids of its forward pass, so that the host stamps each one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ... import BackendError, ModelCache, ModelError
from ...core.contract.generation import Request, Step
from ...core.contract.model import ResolvedModel
from ...core.sdk.checkpoint import read_json
from ...core.sdk.decoder_config import rope_type
from .config import CHAT_CONFIG, check_stored, is_mlc_folder
from .quantisations import OWN

_LIBRARY = "model-lib.so"
_CONVERTER_VERSION = "2"  # raised whenever what is handed to the commands changes
_SPARE_POSITIONS = 256
_SILENT_STEPS = 64
_MOST_DEVICES = 16  # of a kind that are looked for
_COMMAND_TIMEOUT_S = 3600.0  # compiling with TVM's own CPU rules took 6.5 minutes for a model of four layers
_INSTALL = "pip install --pre -U -f https://mlc.ai/wheels mlc-llm-nightly-cpu mlc-ai-nightly-cpu (or -cu1xx for CUDA)"
_MATCHING = (
    "MLC-LLM runs only with the TVM that it was written for: its wheels come with mlc-ai of the same day; its sources "
    "of July 2026 want apache-tvm 0.26, since 0.27 moved names that they use"
)
_PACKAGES = {"mlc_llm": ("mlc_llm-*", "mlc_llm_*"), "tvm": ("apache_tvm-*", "mlc_ai*")}
KINDS = ("cuda", "rocm", "metal", "vulkan", "opencl")
"""Devices that MLC-LLM compiles for beside the CPU, in its own words."""


def is_installed() -> bool:
    """Whether ``mlc_llm`` can be imported; it is not imported."""
    return find_spec("mlc_llm") is not None


def require() -> None:
    """Raise ``BackendError`` where MLC-LLM is not installed."""
    if not is_installed():
        raise BackendError(
            f"engine=mlc_llm needs MLC-LLM, which is not on the package index: {_INSTALL}", code="package-missing"
        )


def version() -> str:
    """Name the versions of MLC-LLM and of its TVM, as their packages state them; nothing is imported."""
    found = {module: _stated_version(module, patterns) for module, patterns in _PACKAGES.items()}
    return f"mlc_llm {found['mlc_llm']} (tvm {found['tvm']})"


def _stated_version(module: str, patterns: Sequence[str]) -> str:
    """Read a version off the folder beside the module in which its installer keeps it: the package's name varies."""
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return "unknown"
    place = Path(spec.origin).parent.parent
    found = [folder for pattern in patterns for folder in place.glob(f"{pattern}.dist-info")]
    return found[0].name.removesuffix(".dist-info").rpartition("-")[2] if found else "unknown"


def devices() -> list[str]:
    """List the GPUs that the installed TVM drives."""
    import tvm

    counts = {kind: 1 if kind == "metal" else _MOST_DEVICES for kind in KINDS}
    there = [
        (kind, number) for kind, count in counts.items() for number in range(count) if tvm.device(kind, number).exist
    ]
    return [kind if kind == "metal" else f"{kind}:{number}" for kind, number in there]


def folder(model: ResolvedModel, quantisation: str, device: str, cache: ModelCache) -> Path:
    """Return a folder in MLC's format with the compiled library in it, from the cache or made by MLC-LLM's commands.

    Raises:
        ModelError: a format that MLC-LLM does not have or that the folder is not in, or one of its commands failed or
            took too long; has its last output.
    """
    if quantisation in OWN:
        raise ModelError(f"quantisation {quantisation!r} is not one of MLC-LLM's; use engine=tvm", code="not-supported")
    if is_mlc_folder(model.path):
        check_stored(model.path, quantisation)
    kind = device.partition(":")[0]

    def build(target: Path) -> None:
        source = model.path
        if is_mlc_folder(source):
            for file in source.iterdir():
                (target / file.name).symlink_to(file.resolve())
        else:
            with TemporaryDirectory() as scratch:
                config = str(link_for_mlc(source, Path(scratch)))
                _run("gen_config", config, "--quantization", quantisation, "--conv-template", "LM", "-o", str(target))
                # without a device the command looks for one for 40 seconds
                _run("convert_weight", config, "--quantization", quantisation, "--device", kind, "-o", str(target))
        _run("compile", str(target / CHAT_CONFIG), "--device", kind, "-o", str(target / _LIBRARY))

    key = ("mlc_llm", _CONVERTER_VERSION, quantisation, device, model.content_hash, version())
    return cache.entry(f"mlc-llm-{model.path.name}-{quantisation}", *key, build=build)


def link_for_mlc(source: Path, folder: Path) -> Path:
    """Fill a folder with links to a checkpoint and a configuration that MLC-LLM reads right; return the latter.

    MLC-LLM reads ``rope_theta`` and ``rope_scaling`` at the top, where transformers 5 writes ``rope_parameters``: Qwen
    models would fail there, and Llama models be rotated by the default.

    Raises:
        ModelError: rotary scaling that the model's class in MLC-LLM has no field for, and would leave out.
    """
    file = source / "config.json"
    config = read_json(file)
    name = "rope_parameters" if config.get("rope_parameters") else "rope_scaling"
    rope, family = config.get(name) or {}, config.get("model_type")
    kind = rope_type(rope)
    if kind != "default" and family != "llama":
        raise ModelError(
            f"{file}: {name} of type {kind!r} is not supported: MLC-LLM's {family} has no rotary scaling",
            code="model-unsupported",
        )
    config["rope_theta"] = rope.get("rope_theta") or config.get("rope_theta") or 10000.0
    config["rope_scaling"] = {**rope, "rope_type": kind} if kind != "default" else None
    for other in source.iterdir():
        if other.name != file.name:
            (folder / other.name).symlink_to(other.resolve())
    written = folder / file.name
    written.write_text(json.dumps({key: value for key, value in config.items() if key != "rope_parameters"}))
    return written


def _run(*arguments: str) -> None:
    command = [sys.executable, "-m", "mlc_llm", *arguments]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_COMMAND_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise ModelError(
            f"mlc_llm {arguments[0]} was stopped after {_COMMAND_TIMEOUT_S:g} s", code="no-answer"
        ) from error
    if ended.returncode != 0:
        words = " ".join((ended.stderr or ended.stdout).split())
        hint = f"; {_MATCHING}" if "AttributeError" in words or "ImportError" in words else ""
        raise ModelError(f"mlc_llm {arguments[0]} failed: {words[-300:]}{hint}", code="conversion-failed")


class StockEngine:
    """MLC-LLM's engine, one request at a time, no prefix cache.

    Args:
        path: what ``folder`` returned.
        device: where it runs.
        prefill_chunk: most prompt tokens in one pass; the compiled library may hold fewer.

    Attributes:
        prefill_chunk: what it became.

    Raises:
        BackendError: MLC-LLM does not go with the TVM that is installed.
    """

    def __init__(self, path: Path, device: str, prefill_chunk: int) -> None:
        try:
            from mlc_llm.serve.config import EngineConfig
            from mlc_llm.serve.sync_engine import SyncMLCEngine
        except (ImportError, AttributeError) as error:
            raise BackendError(
                f"{version()} cannot be imported: {error}; {_MATCHING}", code="package-missing"
            ) from error

        self._arrived: list[int] = []
        self._finish: str | None = None
        self._count = 0
        config = read_json(path / CHAT_CONFIG)
        context = int(config["context_window_size"])
        self.prefill_chunk = min(prefill_chunk, int(config.get("prefill_chunk_size") or context))
        self._engine: Any = SyncMLCEngine(
            str(path),
            device,
            model_lib=str(path / _LIBRARY),
            mode="interactive",
            # with no more pages than the context the engine finds none near its end, and prefills for every token
            engine_config=EngineConfig(
                prefix_cache_mode="disable",
                verbose=False,
                max_total_sequence_length=context + _SPARE_POSITIONS,
                prefill_chunk_size=self.prefill_chunk,
            ),
            request_stream_callback=self._take,
        )

    def generate(self, request: Request) -> Iterator[Step]:
        """Continue one prompt; the stop token is committed, so the engine itself never stops at one.

        Raises:
            BackendError: top-k sampling, which this engine lacks, or the engine ended or stalled before the output did.
        """
        if request.top_k > 0:
            raise BackendError("MLC-LLM has no top-k sampling; use engine=tvm or top_k=0", code="not-supported")
        self._count += 1
        name, self._finish = str(self._count), None
        self._engine.add_request(self._request(name, request))
        left = request.max_new_tokens
        silent, most_silent = 0, _SILENT_STEPS + len(request.prompt_ids)  # no chunk of a prefill is below one token
        try:
            while left:
                self._engine.step()
                silent = 0 if self._arrived else silent + 1
                if not self._arrived and (self._finish is not None or silent > most_silent):
                    why = f"ended it ({self._finish})" if self._finish else f"gave nothing in {silent} steps"
                    raise BackendError(f"MLC-LLM {why} with {left} of {request.max_new_tokens} tokens to go")
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
            # left out, these would come from mlc-chat-config.json
            frequency_penalty=0.0,
            presence_penalty=0.0,
            repetition_penalty=1.0,
            seed=request.seed,
            stop_token_ids=[],
            debug_config=DebugConfig(ignore_eos=True),
        )
        return self._engine.create_request(name, TokenData(list(request.prompt_ids)), config)

    def _take(self, outputs: Sequence[Any]) -> None:
        for output in outputs:
            _, streams = output.unpack()
            self._arrived.extend(streams[0].delta_token_ids)
            self._finish = streams[0].finish_reason or self._finish
