"""Prompts that begin as no other does, in any round or under any load, so that a cache of prefixes has none of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from .job import PromptJob

_DIGITS = 16
PLACE = hashlib.sha256(b"place of a unique prefix").hexdigest()[:_DIGITS]
"""Stands in a rendered chat where its digits come, since templates are rendered once and not for every round."""


def with_unique_prefixes(jobs: Sequence[PromptJob], occasion: str) -> Iterator[PromptJob]:
    """Yield prompts whose first tokens are theirs alone; the turns of a conversation share those of its first.

    Random ids are drawn anew, and are as many as before. A text begins with a line of hexadecimal digits; in a rendered
    chat they take their ``PLACE``, behind what the template itself begins with. Choices that are scored keep their
    prompts.

    Args:
        jobs: warm-up first.
        occasion: names the round; the same for cells that are compared.
    """
    begun: dict[bool, list[int]] = {True: [], False: []}  # of each prompt the first of its conversation
    for job in jobs:
        alike = begun[job.is_warmup]
        begins = len(alike) if job.after is None else alike[job.after]
        alike.append(begins)
        name = f"{occasion}:{job.is_warmup}:{begins}"
        if job.random_tokens is not None:
            yield job.model_copy(update={"random_seed": f"{job.random_seed}:{name}"})
        elif job.choices:
            yield job
        else:
            digits = hashlib.sha256(name.encode()).hexdigest()[:_DIGITS]
            text = job.text or ""
            text = text.replace(PLACE, digits) if PLACE in text else f"{digits}\n{text}"
            yield job.model_copy(update={"text": text})
