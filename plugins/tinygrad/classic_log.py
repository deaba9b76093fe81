"""The log that tinygrad's Llama example prints, written from what was measured here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ...core.contract.generation import Step


def preamble(seed: int, load_s: float, weight_bytes: int) -> str:
    """Return the first lines of a log."""
    gigabytes = weight_bytes / 1e9
    loaded = f"{gigabytes:.2f} GB loaded at {gigabytes / load_s:.2f} GB/s"
    return f"seed = {seed}\nloaded weights in {load_s * 1e3:6.2f} ms, {loaded}\n"


def sample(steps: Sequence[Step], weight_bytes: int, decode: Callable[[Sequence[int]], str]) -> str:
    """Return the lines of one generation: per step the time to enqueue, the total with its rates, the text so far."""
    return "".join(_lines(steps, weight_bytes, decode))


def _lines(steps: Sequence[Step], weight_bytes: int, decode: Callable[[Sequence[int]], str]) -> Iterator[str]:
    ids: list[int] = []
    for step in steps:
        assert step.enqueue_s is not None and step.engine_s is not None and step.bytes_read is not None
        ids.extend(step.token_ids)
        seconds = step.engine_s
        yield f"enqueue in {step.enqueue_s * 1e3:6.2f} ms\n"
        yield (
            f"total {seconds * 1e3:6.2f} ms, {1 / seconds:.2f} tok/s, {step.bytes_read / seconds / 1e9:.2f} GB/s, "
            f"param {weight_bytes / seconds / 1e9:.2f} GB/s\n"
        )
        yield decode(ids) + "\n"
