"""What llama.cpp's programs print of how they run: sampler, limits, context, threads and devices.

::

    llama_context: n_batch               = 2048
    system_info: n_threads = 8 (n_threads_batch = 8) / 16 | ...
    sampler params:
        top_k = 40, top_p = 0.950, min_p = 0.050, temp = 0.800
    generate: n_ctx = 4096, n_batch = 2048, n_predict = 128, n_keep = 0

A server prints its sampler for every request. The seed that is drawn where nobody asked for one looks like any other,
so that it is no condition.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import JsonValue

from ....core.records.schema import RecordedSampling

_CONTEXT = re.compile(r"(?:llama_context|llama_new_context_with_model|llama_init_from_model): +(\w+) += (\S+)$")
_TOLD = (
    re.compile(r"system_info: n_threads = (?P<n_threads>\d{1,6})"),
    re.compile(r", K \((?P<cache_type_k>\w+)\): .*, V \((?P<cache_type_v>\w+)\): "),
    re.compile(r"offloaded (?P<offloaded_layers>\d{1,5}/\d{1,5}) layers to GPU"),
    re.compile(r"initializing, n_slots = (?P<n_slots>\d{1,5})"),
)
"""Conditions, each by its name."""
_GENERATE = re.compile(r"generate: (n_ctx = .*)")
_SAMPLER = re.compile(r"(?:sampler params|sampling): *(.*)$")
_SEED = re.compile(r"(?:sampler seed: |main: seed += )(\d{1,20})$")
_PAIR = re.compile(r"(\w+) = ([^,\s]+)")
_FIELDS = {"temp": "temperature", "top_p": "top_p", "top_k": "top_k"}
_GPUS = (
    re.compile(r"(?<!\w)Device \d+: (.+?), (?:compute capability|gfx|VMM)"),  # CUDA and ROCm
    re.compile(r"ggml_vulkan: \d+ = (.+?) \("),
    re.compile(r"ggml_metal\w*: GPU name: +(.+)"),
)


def gpus_of(lines: Sequence[str]) -> tuple[str, ...]:
    """Return the GPUs that the engine says it found."""
    return tuple(name for _, name in gpus_by_line(enumerate(lines)))


def gpus_by_line(lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Yield the GPUs that engines say they found, each with the number of its line."""
    for at, line in lines:
        if "Device " in line or "ggml_" in line:
            yield from ((at, found[1].strip()) for pattern in _GPUS if (found := pattern.search(line)))


@dataclass(slots=True)
class Settings:
    """What a log says of how the program ran.

    Attributes:
        conditions: everything that no field of a run is for, by the program's own names.
        samplers: the sampler's settings, each that differs from those before it.
        limits: tokens to predict, as printed; -1 is no limit.
        seeds: of the sampler.
    """

    conditions: dict[str, JsonValue] = field(default_factory=dict)
    samplers: list[dict[str, str]] = field(default_factory=list)
    limits: set[int] = field(default_factory=set)
    seeds: list[int] = field(default_factory=list)

    @property
    def run_fields(self) -> dict[str, Any]:
        """The fields of a run that they fill; where requests differ in a setting, it has no single value."""
        found: dict[str, Any] = {}
        (limit,) = self.limits if len(self.limits) == 1 else (None,)
        if limit is not None and limit > 0:
            found["max_new_tokens"] = limit
        sampler = self.samplers[0] if len(self.samplers) == 1 else {}
        valid = {_FIELDS[name]: float(text) for name, text in sampler.items() if _is_valid(name, text)}
        found["sampling"] = RecordedSampling.model_validate(valid)
        further = dict(self.conditions)
        if sampler:
            further |= {name: value for name, value in sampler.items() if _FIELDS.get(name) not in valid}
        elif self.samplers:
            further["samplers"] = [", ".join(f"{k} = {v}" for k, v in one.items()) for one in self.samplers]
        if len(self.limits) > 1 or limit == -1:
            further["n_predict"] = [*sorted(self.limits)]
        extra: dict[str, JsonValue] = {"sampler_seeds": list(self.seeds)} if self.seeds else {}
        return {**found, "conditions": further, "extra": extra}


def _is_valid(name: str, text: str) -> bool:
    """Whether a sampler's setting is one that a record has, with a value that it may have there."""
    if name not in _FIELDS or not re.fullmatch(r"\d{1,9}" if name == "top_k" else r"\d{1,9}(?:\.\d{1,9})?", text):
        return False
    return name != "top_p" or 0 < float(text) <= 1


def settings_of(lines: Sequence[str]) -> Settings:
    """Read the settings that some lines print."""
    found = Settings()
    for at, line in enumerate(lines):
        if not _tells(line):
            continue
        if context := _CONTEXT.search(line):
            found.conditions[context[1]] = context[2]
        elif told := next(filter(None, (pattern.search(line) for pattern in _TOLD)), None):
            found.conditions |= told.groupdict()
        elif seed := _SEED.search(line):
            found.seeds.append(int(seed[1]))
        elif generate := _GENERATE.search(line):
            pairs = dict(_PAIR.findall(generate[1]))
            found.limits |= {int(text) for text in [pairs.pop("n_predict", "")] if re.fullmatch(r"-?\d{1,9}", text)}
            found.conditions |= pairs
        elif sampler := _SAMPLER.search(line):
            pairs = dict(_pairs_of([sampler[1], *lines[at + 1 : at + 100]]))
            found.samplers += [pairs] if pairs and pairs not in found.samplers else []
    return found


def _tells(line: str) -> bool:
    """Whether a line has what one of the patterns needs; for the many that have not, this is far faster than those."""
    return (
        ("llama_" in line and ("llama_context:" in line or "llama_new_" in line or "llama_init_" in line))
        or "system_info:" in line
        or ", V (" in line
        or "offloaded " in line
        or "n_slots" in line
        or "seed" in line
        or "generate: " in line
        or "sampl" in line
    )


def _pairs_of(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the settings of the lines that belong to a sampler: the first, and those that are indented below it.

    Between them may stand lines that are empty, and one that another thread printed.
    """
    yield from _PAIR.findall(lines[0])
    others = 0
    for line in lines[1:]:
        first = _PAIR.search(line)
        if first and line[: first.start()].endswith(("\t", "    ")):
            yield from _PAIR.findall(line)
        elif line.strip():
            others += 1
            if others > 1:
                return
