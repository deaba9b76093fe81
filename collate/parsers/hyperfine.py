"""`hyperfine --export-json`: every run time of every command.

hyperfine starts a process per time, so each is a round of its own, as a fresh worker's is, and each command is a cell.
A result is `{"command": "sleep 0.1", "mean": ..., "times": [0.101, ...], "exit_codes": [0, ...], "parameters": {...}}`.
Layout as in sharkdp/hyperfine (327d5f4), `src/benchmark/benchmark_result.rs`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...core.contract.hookspecs import hookimpl
from ...core.contract.log_parser import LogParser
from ...core.records.schema import Run, Sample
from ...core.sdk.logs.fields import Fields
from ...core.sdk.logs.formats import JsonFormat
from ...core.sdk.logs.runs import bare_run

_NOTES = ("a time is that of the whole process, start and loading included; tokens are not counted",)


class Hyperfine(JsonFormat):
    """Reads one run per time."""

    name = "hyperfine"
    summary = "hyperfine --export-json: times of whole commands"
    version = "2"
    keys = ("results", "command", "median", "user", "system", "times")

    def records(self, run_id: str, content: Fields) -> Iterator[Run | Sample]:
        """Yield a run and its sample for every time of every command."""
        for at, result in enumerate(content.rows("results")):
            yield from _command(f"{run_id}-{at}", result)


def _command(name: str, result: Fields) -> Iterator[Run | Sample]:
    times = result.times("times")
    codes = _column(result, "exit_codes", len(times))
    peaks = _column(result, "memory_usage_byte", len(times))
    parameters = result.at("parameters")
    for index, seconds in enumerate(times):
        code, peak = codes[index], peaks[index]
        run_id = f"{name}-{index:04d}"
        has_failed = codes != [None] * len(codes) and code != 0
        reason = "killed by a signal" if code is None else f"exit code {code}"
        yield bare_run(
            run_id,
            "hyperfine",
            options={"command": result.text("command"), **{key: parameters.scalar(key) for key in parameters.content}},
            samples=1,
            extra=result.beyond("command", "times", "exit_codes", "memory_usage_byte", "parameters"),
            failure=reason if has_failed else None,
            wall_s=seconds,
            peak_rss_bytes=peak or None,
            notes=_NOTES,
        )
        if not has_failed:
            yield Sample(run_id=run_id, index=0, output_tokens=None, duration_s=seconds)


def _column(result: Fields, name: str, length: int) -> list[int | None]:
    """Return a list with an entry per time, each of which may be null; nulls alone where there is no such list."""
    if not result.has(name):
        return [None] * length
    values = result.items(name)
    if len(values) != length:
        raise result.fail(name, f"not a list with an entry for each of the {length} times")
    each = Fields(result.path, result.line, {f"{name}[{at}]": value for at, value in enumerate(values)}, result.within)
    least = -(2**31) if name == "exit_codes" else 0
    return [each.count(key, least) if each.has(key) else None for key in each.content]


@hookimpl
def decodebench_log_parsers() -> Sequence[type[LogParser]]:
    """Return the reader of hyperfine's export."""
    return [Hyperfine]
