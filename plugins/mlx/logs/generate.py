"""What `mlx_lm.generate` prints behind an answer.

::

    Prompt: 155 tokens, 211.031 tokens-per-sec
    Generation: 80 tokens, 50.460 tokens-per-sec
    Peak memory: 9.447 GB

mlx-lm's clock for the prompt stops when the first token is there, and the other one runs from then on, although all
tokens are counted in its rate (ml-explore/mlx-lm, `mlx_lm/generate.py`): decode speed is that of the tokens after the
first. `batch_generate` prints the same behind `[batch_generate]`, of all its answers together, below `Finished
processing 4/4`; there each clock holds the time of all its tokens. Programs that print rates without counts (mlx-vlm
before 2025) are read too; their figures stay as printed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ....core.contract.log_parser import LogParser
from ....core.records.schema import Run, Sample, Totals
from ....core.sdk.logs.fields import MOST_TOKENS
from ....core.sdk.logs.figures import Figure, form, gather
from ....core.sdk.logs.pages import Block, Labels, blocks, model_above, place_of
from ....core.sdk.logs.runs import UNKNOWN, digest_of
from ....core.sdk.logs.structure import page_of, text_of
from ....core.sdk.logs.text import malformed

_MARK = "tokens-per-sec"
_OF_BATCH = "[batch_generate]"
"""Begins lines whose counts and rates are those of several answers together."""
_FINISHED = re.compile(r"\[batch_generate\] Finished processing (\d{1,6})/")
_PRINTED = form(
    Figure("Prompt", "condition.prompt", "text"),
    Figure("Generation", "condition.generation", "text"),
    Figure("Peak memory", "run.peak_device_bytes", "GB"),
)
_LABELS = Labels(_PRINTED)
_SPEED = re.compile(r"(?:(\d{1,9}) tokens, )?(\d{1,9}(?:\.\d{1,9})?) tokens-per-sec")
_NOTES = (
    "times follow from counts and printed rates, which have three decimals",
    "the tool's generation clock begins with its first token: decode speed counts the tokens after it",
)


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens and their printed rate; the count is None where it is not printed."""

    tokens: int | None
    rate: float

    @property
    def seconds(self) -> float | None:
        """The time that the two make."""
        return self.tokens / self.rate if self.tokens and self.rate else None


class MlxGenerate(LogParser):
    """Reads one run per answer."""

    name = "mlx-lm"
    summary = "timings that mlx_lm.generate prints behind an answer"
    version = "1"
    within_pages = True

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for a block whose rates have the tool's unit."""
        text = text_of(path)
        return _MARK in text and any(True for _ in _blocks(text))

    def read(self, path: Path) -> Iterator[Run | Sample]:
        """Yield the run and the sample of each answer: nothing shows that they are of one model."""
        text = page_of(path)
        base = f"{self.name}-{digest_of(text)}"
        found = list(_blocks(text))
        if not found:
            raise malformed(path, 1, "Generation", f"no block has tokens and {_MARK}")
        lines = text.split("\n")
        for at, block in enumerate(found):
            run_id, where = f"{base}-{at}", place_of(block.above, at, len(found))
            is_batch = _OF_BATCH in lines[block.line - 1]
            yield from _batch(run_id, block, where) if is_batch else _records(run_id, block, where)


def _blocks(text: str) -> Iterator[Block]:
    lines = text.split("\n")
    return (block for block in blocks(lines, _LABELS, "Generation") if _SPEED.match(block.found["Generation"]))


def _batch(run_id: str, block: Block, where: dict[str, str | int]) -> Iterator[Run]:
    """Yield the run of several answers at once, without samples: nothing says which tokens are of which answer."""
    gathered = gather(_PRINTED, block.found)
    prompt, generation = (speed_of(str(gathered.condition.get(name))) for name in ("prompt", "generation"))
    counts = [int(found[1]) for line in block.above if (found := _FINISHED.search(line))]
    gathered.condition = dict(where)
    tokens, times = generation.tokens if generation else None, [part.seconds for part in (prompt, generation) if part]
    yield gathered.as_run(
        run_id,
        "mlx",
        kind="autoregressive",
        model=model_above(block.above) or UNKNOWN,
        samples=max(counts, default=0) or None,
        batch_size=max(counts, default=0) or None,
        totals=Totals(
            samples=max(counts, default=0) or None,
            output_tokens=tokens,
            prompt_tokens=prompt.tokens if prompt else None,
            wall_s=sum(filter(None, times)) if len(times) == 2 and all(times) else None,
        ),
        settings={
            f"published_{name}_tokens_per_s": repr(part.rate)
            for name, part in (("prompt", prompt), ("generation", generation))
            if part
        },
        source_line=block.line,
        notes=("counts and rates are those of all answers together; the time is that of prompts and generation",),
    )


def _records(run_id: str, block: Block, where: dict[str, str | int]) -> Iterator[Run | Sample]:
    gathered = gather(_PRINTED, block.found)
    speeds = {name: speed_of(str(text)) for name, text in gathered.condition.items()}
    prompt, generation = speeds.get("prompt"), speeds.get("generation")
    gathered.condition = dict(where)
    model = model_above(block.above)
    yield gathered.as_run(
        run_id,
        "mlx",
        kind="autoregressive",
        model=model or UNKNOWN,
        samples=1,
        settings={f"published_{n}_tokens_per_s": repr(speed.rate) for n, speed in speeds.items() if speed},
        source_line=block.line,
        derived=("prefill_s", "decode_s"),
        notes=_NOTES,
    )
    yield sample_of(run_id, 0, prompt, generation, block.line)


def speed_of(text: str) -> Speed | None:
    """Read ``15 tokens, 105.010 tokens-per-sec``, or the rate alone; None where it is neither."""
    found = _SPEED.match(text)
    if not found or int(found[1] or 0) > MOST_TOKENS:
        return None
    return Speed(int(found[1]) if found[1] else None, float(found[2]))


def sample_of(run_id: str, index: int, prompt: Speed | None, generation: Speed | None, line: int) -> Sample:
    """Return the answer that two speeds are of; prefill and first token are one time."""
    prefill_s = prompt.seconds if prompt else None
    tokens = generation.tokens if generation else None
    decode_s = generation.seconds if generation else None
    after_first = tokens - 1 if tokens and tokens > 1 and decode_s else None
    return Sample(
        run_id=run_id,
        index=index,
        prompt_tokens=prompt.tokens if prompt else None,
        output_tokens=tokens,
        prefill_s=prefill_s,
        first_token_s=prefill_s,
        decode_tokens=after_first,
        decode_s=decode_s if after_first else None,
        duration_s=prefill_s + decode_s if prefill_s is not None and decode_s is not None else None,
        source_line=line,
    )
