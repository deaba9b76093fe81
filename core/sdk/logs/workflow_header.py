"""The header that a public engine-comparison workflow puts around an engine's output, and the names of its files.

Nine lines of `key: value`, and a file called `[llamacpp_|mlc_]HOST_SIZE_QUANTIZE_seedN_uuidXXXXXXXX.txt`, or `.csv`
where its parser turned the log into rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from ...records.schema import Environment, Run
from .runs import UNKNOWN, bare_run, digest_of

HEADER = ("platform", "release", "device", "username", "hostname", "size", "quantize", "seed", "uuid")
STEP_COLUMNS = (
    "step", "enqueue_latency_ms", "total_latency_ms", "tokens_per_sec", "memory_throughput_gb_s",
    "param_throughput_gb_s", "generated_text", *HEADER,
)  # fmt: skip
"""The columns of the tables that it makes of logs."""
HEADER_LINE = re.compile(rf"({'|'.join(HEADER)}): ?(.*)")

_FILE_NAME = re.compile(
    r"(?:(?:llamacpp|mlc)_)?(?P<hostname>.+)_(?P<size>[0-9]+B)_(?P<quantize>.+)_seed(?P<seed>[0-9]{1,18})_"
    r"(?P<uuid>uuid[0-9a-f]{8})\.(?:txt|csv)"
)
_CPU_COMPILERS = frozenset({"clang", "llvm"})  # tinygrad's devices of before 2025 that are all the CPU


class Facts:
    """What a log and its file's name say of the run; the log counts where both do."""

    def __init__(self, told: Mapping[str, str], path: Path) -> None:
        named = _FILE_NAME.fullmatch(path.name)
        found = named.groupdict() if named else {}
        known = {key: value for key, value in told.items() if value}
        self._named = {key: value for key, value in found.items() if key not in known}
        self._known = {**self._named, **known}

    @classmethod
    def read(cls, path: Path, lines: Iterable[str]) -> Self:
        """Read what the header lines among these tell."""
        return cls(
            {found[1]: found[2].strip() for line in lines if ":" in line and (found := HEADER_LINE.fullmatch(line))},
            path,
        )

    def run_id(self, text: str) -> str:
        """Return the workflow's id of the run, or one by the content of its log."""
        return self.get("uuid") or f"sha256-{digest_of(text)}"

    def run(self, run_id: str, backend: str, **known: Any) -> Run:  # noqa: ANN401 - fields of Run, which checks them
        """Return the run as the header tells it; what is known besides counts first."""
        told: dict[str, Any] = {
            "kind": "autoregressive",
            "model": self.get("size") or UNKNOWN,
            "size": self.get("size"),
            "quantisation": self.get("quantize") or UNKNOWN,
            "device": self.device() or UNKNOWN,
            "environment": self.environment(),
        }
        return bare_run(run_id, backend, **{**told, **known})

    def get(self, key: str) -> str | None:
        """Return the value of one of ``HEADER``; None where neither tells it."""
        return self._known.get(key)

    def device(self) -> str | None:
        """Return the device by the names that backends here use; None where it is unknown or a constant."""
        name = (self.get("device") or "default").lower()
        return None if name == "default" else "cpu" if name in _CPU_COMPILERS else name

    def seed(self) -> int | None:
        """Return the seed; None where it is unknown or no number."""
        text = self.get("seed") or ""
        return int(text) if re.fullmatch("[0-9]{1,18}", text) else None

    def environment(self) -> Environment | None:
        """Return host and system; None where nothing of them is known."""
        return self._environment

    @cached_property
    def _environment(self) -> Environment | None:
        names = ("hostname", "username", "platform", "release")
        known = {name: value for name in names if (value := self.get(name)) is not None}
        return Environment(**known) if known else None

    def notes(self) -> Iterator[str]:
        """Say what came from the file's name, and what is missing."""
        if self._named:
            yield f"from the file's name, since the log has no such header line: {', '.join(self._named)}"
        missing = [key for key in HEADER if self.get(key) is None]
        if missing:
            yield f"neither in the log nor in the file's name: {', '.join(missing)}"
