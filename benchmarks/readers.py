"""What reading other tools' logs costs: CPU time per 10 MB of each format, by default of files of 10 MB.

Each file is an example of ``tests/data`` (the longest of its format), repeated as a user's file would be: runs appended
to a console log, rows to a table, results to a file of JSON. Recognising it, which asks every format, and reading it
into records are timed apart, in this process, with caches empty. A format whose records are small gives very many of
them, and what they cost is mostly their validation: records per second say so.
"""

from __future__ import annotations

import json
import platform
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import click

from decodebench.collate.parsers.foreign import Parsers, recognise
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.measure.machine.environment import capture
from decodebench.core.records.raw_log import RawLogError
from decodebench.core.sdk.logs import structure

_EXAMPLES = Path(__file__).parents[1] / "tests" / "data"
_LARGEST = 60_000  # bytes; longer files are no logs


@dataclass(frozen=True)
class Cost:
    """One format: its example, CPU times per 10 MB, and the records that were read."""

    name: str
    example: str
    recognise_s: float
    read_s: float
    records: int
    records_per_s: float
    refused: str


def examples(parsers: Parsers) -> dict[str, Path]:
    """Return the longest example of each format that a file of its own has."""
    found: dict[str, Path] = {}
    for path in sorted(_EXAMPLES.rglob("*")):
        if path.is_file() and path.stat().st_size < _LARGEST:
            for name in _formats(path, parsers):
                if name not in found or found[name].stat().st_size < path.stat().st_size:
                    found[name] = path
    return found


def _formats(path: Path, parsers: Parsers) -> list[str]:
    try:
        return recognise(path, parsers)
    except RawLogError:
        return []


def repeated(path: Path, size_bytes: int) -> bytes:
    """Return an example repeated to a size; the column names of a CSV stand once, and rows of an array are in one."""
    text = path.read_bytes().rstrip() + b"\n"
    if path.suffix == ".csv":
        lines = text.splitlines(keepends=True)
        first = 1 + lines[0].startswith(b"#")
        head, body = b"".join(lines[:first]), b"".join(lines[first:])
        return head + body * max(1, size_bytes // len(body))
    times = max(1, size_bytes // len(text))
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if isinstance(content, list):
        return json.dumps(content * times).encode()
    if isinstance(content, dict) and all(isinstance(rows, list) for rows in content.values()):
        return json.dumps({name: rows * times for name, rows in content.items()}).encode()
    return text * times


def cost_of(name: str, path: Path, size_bytes: int, parsers: Parsers, folder: Path) -> Cost:
    """Time one format."""
    file = folder / path.name
    file.write_bytes(repeated(path, size_bytes))
    per_10_mb = 10e6 / file.stat().st_size
    structure.forget()
    begun = time.process_time()
    _formats(file, parsers)
    recognised = time.process_time()
    records, refused = 0, ""
    try:
        for _ in parsers[name]().read(file):
            records += 1
    except RawLogError as error:
        refused = str(error).removeprefix(str(file))[:60]
    read_s = time.process_time() - recognised
    file.unlink()
    rate = records / read_s if read_s else 0.0
    return Cost(name, path.name, (recognised - begun) * per_10_mb, read_s * per_10_mb, records, rate, refused)


def rows(costs: Iterator[Cost]) -> Iterator[str]:
    """Yield the table's lines as they are measured."""
    yield "| format | example | recognising, s per 10 MB | reading, s per 10 MB | records | records per second |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for cost in costs:
        read = cost.refused or f"{cost.records:,} | {cost.records_per_s:,.0f}"
        yield f"| `{cost.name}` | {cost.example} | {cost.recognise_s:.2f} | {cost.read_s:.2f} | {read} |"


@click.command()
@click.option("--megabytes", type=click.FloatRange(0.01), default=10.0, show_default=True, help="Of each file.")
@click.argument("formats", nargs=-1)
def main(megabytes: float, formats: tuple[str, ...]) -> None:
    """Time FORMATS, by default all."""
    parsers = all_plugins().log_parsers
    machine = capture(anonymise=True, with_bandwidth=False)
    click.echo(
        f"{date.today().isoformat()}, {machine.cpu_model}, Python {platform.python_version()}, {megabytes:g} MB\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        chosen = sorted((n, path) for n, path in examples(parsers).items() if not formats or n in formats)
        costs = (cost_of(name, path, int(megabytes * 1e6), parsers, Path(folder)) for name, path in chosen)
        for line in rows(costs):
            click.echo(line)


if __name__ == "__main__":
    main()
