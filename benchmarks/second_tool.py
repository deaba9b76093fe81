"""The same requests by decodebench and by guidellm, in turn against one server: do two tools measure the same?

guidellm has an environment of its own: ``python -m venv guidellm && guidellm/bin/pip install guidellm==0.8.1``. Both
tools ask ``/v1/completions`` in a closed loop, with the same prompts as text, greedily and for as many tokens at most.
guidellm's files are imported beside our rounds, so that the same formulas make both columns; what guidellm prints of a
figure is beside them.
"""

from __future__ import annotations

import json
import math
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import click
from overhead import prepared

import decodebench
from decodebench import DecodebenchError, ModelCache, UsageError
from decodebench.collate.parsers.foreign import Intake
from decodebench.collate.statistics.intervals import t_interval
from decodebench.core.api.results import collate
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.measure.machine.environment import capture
from decodebench.core.sdk.models import resolve
from decodebench.plugins.openai.launched.process import HOST, ServerProcess, free_port
from decodebench.plugins.reference.task import tiny_gsm_samples

_NAME, _THEIRS = "second-tool", "guidellm"
_TIMEOUT_S = 300.0
_EXTRA = {"cache_prompt": False, "repeat_penalty": 1.0}
"""Fields of every request of both tools that OpenAI's API does not have, as servers with llama.cpp take them."""
_COMMAND = (
    "{python} -m llama_cpp.server --model {model} --model_alias served --n_ctx 512 --n_threads {threads} "
    "--interrupt_requests False --host 127.0.0.1 --port {port}"
)


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of both tools.

    Attributes:
        name: the metric's.
        label: for the table.
        unit: of the table, with how many of them are one of the metric's.
        printed: guidellm's own figure, in the table's unit.
    """

    name: str
    label: str
    unit: tuple[str, float]
    printed: str


FIGURES = (
    Figure("ttft_s", "TTFT", ("ms", 1e3), "time_to_first_token_ms"),
    Figure("tpot_s", "TPOT", ("ms", 1e3), "time_per_output_token_ms"),
    Figure("batch_tokens_per_s", "throughput", ("tokens/s", 1.0), "output_tokens_per_second"),
)


@dataclass(frozen=True, slots=True)
class Work:
    """What both tools ask.

    Attributes:
        url: of the server.
        model: as decodebench takes it.
        served: the server's name for it.
        folder: of results; it has the prompts.
        requests: measured ones of each load.
        tokens: of each answer.
        loads: requests in flight.
    """

    url: str
    model: str
    served: str
    folder: Path
    requests: int
    tokens: int
    loads: tuple[int, ...]

    @property
    def prompts(self) -> Path:
        """File of the prompts, which both tools read."""
        return self.folder / "prompts.jsonl"

    def write_prompts(self) -> None:
        """Write a line for each request of a load."""
        lines = tiny_gsm_samples(self.requests, seed=0)
        self.prompts.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt, _ in lines))


def ours(work: Work, number: int) -> None:
    """Measure one more round of every load."""
    experiment = decodebench.run(
        name=_NAME,
        output=work.folder,
        backends="openai",
        options={
            "openai.url": work.url,
            "openai.api": "completions",
            "openai.extra_body": json.dumps(_EXTRA),
        },
        model=work.model,
        task=f"file:{work.prompts}?scorer=none",
        samples=work.requests,
        warmup=0,  # so that both ask every line once
        max_new_tokens=work.tokens,
        concurrency=list(work.loads),
        rounds=number,
    )
    if experiment.report.failed:
        raise UsageError(f"decodebench: {experiment.report.failed[0]}")


def theirs(work: Work, number: int, program: Path) -> Path:
    """Run guidellm once over every load; return its report."""
    report = work.folder / f"{_THEIRS}-{number}.json"
    asked = {"body": {"temperature": 0.0, "top_p": 1.0, "seed": 0, **_EXTRA}}
    route = {"kind": "openai_http", "target": work.url, "model": work.served, "request_format": "/v1/completions"}
    limits = {"max_tokens": work.tokens, "validate_backend": False}  # which would ask for a path that is not there
    spec = {
        "backend": {**route, **limits, "extras": asked},
        "profile": {"kind": "concurrent", "streams": list(work.loads)},
        "constraints": [{"kind": "max_requests", "count": work.requests}],
        "data": [{"kind": "json_file", "path": str(work.prompts)}],
        "outputs": [{"kind": "json", "path": str(report)}],
    }
    with tempfile.TemporaryDirectory() as scratch:
        config = Path(scratch) / "config.json"
        config.write_text(json.dumps({"spec": spec}))
        command = [str(program), "run", "--config", str(config), "--disable-console"]
        offline = {**os.environ, "HF_HUB_OFFLINE": "1", "NO_PROXY": HOST}
        ended = subprocess.run(
            command, cwd=scratch, env=offline, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    if ended.returncode != 0 or not report.exists():
        raise UsageError(f"guidellm failed: {(ended.stderr or ended.stdout)[-800:]}")
    return report


def alternate(work: Work, rounds: int, program: Path) -> list[Path]:
    """Measure with both tools in every round, each first in every other one; return guidellm's reports."""
    reports = []
    for number in range(1, rounds + 1):
        if number % 2:
            ours(work, number)
        reports.append(theirs(work, number, program))
        if not number % 2:
            ours(work, number)
        print(f"round {number} of {rounds}", file=sys.stderr)
    return reports


Rounds = Mapping[tuple[str, int], Sequence[Mapping[str, float]]]
"""Figures of every round in the order of time, by experiment and load."""


def figures(work: Work, reports: Sequence[Path]) -> Rounds:
    """Import guidellm's reports beside our rounds and return the figures of both by the same formulas."""
    collate(work.folder, intake=Intake(reports, experiment=_THEIRS))
    load = "coalesce(options->>'concurrency', options->>'streams')::INTEGER"
    names = ", ".join(figure.name for figure in FIGURES)
    found: dict[tuple[str, int], list[Mapping[str, float]]] = {}
    with decodebench.open(work.folder) as results:
        rows = results.query(
            f"SELECT experiment, {load} AS load, measured_samples, {names} FROM run_metrics "
            "WHERE status = 'ok' ORDER BY started_at"
        )
        for values in rows.rows:
            row = dict(zip(rows.columns, values, strict=True))
            if row["measured_samples"] != work.requests:
                raise UsageError(f"{row['experiment']}: {row['measured_samples']} of {work.requests} requests counted")
            found.setdefault((row["experiment"], row["load"]), []).append(row)
    return found


def printed(reports: Sequence[Path], load: int, figure: Figure) -> float:
    """Return the mean over reports of what guidellm prints of a load."""
    values = []
    for report in reports:
        benchmarks = json.loads(report.read_text())["benchmarks"]
        (one,) = (b for b in benchmarks if b["config"]["strategy"].get("streams") == load)
        values.append(one["metrics"][figure.printed]["successful"]["mean"])
    return statistics.fmean(values)


def table(work: Work, found: Rounds, reports: Sequence[Path]) -> Iterator[str]:
    """Yield the lines of the table; a ratio is of the rounds' pairs, with its 95 % t interval."""
    yield "| in flight | figure | decodebench | guidellm, same formula | ratio | 95 % interval | guidellm prints |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for load in work.loads:
        for figure in FIGURES:
            sides = [[row[figure.name] for row in found[name, load]] for name in (_NAME, _THEIRS)]
            ratio = t_interval([math.log(a / b) for a, b in zip(*sides, strict=True)]).exp()
            unit, scale = figure.unit
            shown = [f"{scale * statistics.fmean(side):.2f} {unit}" for side in sides]
            own = f"{printed(reports, load, figure):.2f} {unit}"
            interval = f"{ratio.low:.3f} to {ratio.high:.3f}" if ratio.low and ratio.high else "-"
            yield f"| {' | '.join((str(load), figure.label, *shown, f'{ratio.value:.3f}', interval, own))} |"


@click.command()
@click.option("--guidellm", "program", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True)
@click.option("--model", default="tiny:target", show_default=True)
@click.option("--quantisation", default="q8_0", show_default=True, help="Of the GGUF file that is served.")
@click.option("--rounds", type=click.IntRange(2), default=5, show_default=True)
@click.option("--requests", type=click.IntRange(1), default=16, show_default=True, help="Of each load and round.")
@click.option("--tokens", type=click.IntRange(2), default=48, show_default=True, help="Of each answer.")
@click.option("--concurrency", "loads", type=int, multiple=True, default=(1, 4), show_default=True)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Of the server.")
@click.option("--command", default=_COMMAND, show_default=True, help="Starts the server; it calls its model `served`.")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), help="Keep all results there.")
def main(
    program: Path, model: str, quantisation: str, rounds: int, requests: int, tokens: int, loads: tuple[int, ...],
    threads: int, command: str, folder: Path | None,
) -> None:  # fmt: skip
    """Measure a server with both tools and print the figures side by side."""
    with tempfile.TemporaryDirectory() as scratch:
        place = folder or Path(scratch)
        place.mkdir(parents=True, exist_ok=True)
        try:
            weights = prepared("llama-cpp", resolve(model, all_plugins().models, ModelCache()), {}, quantisation).path
            port = free_port()
            work = Work(f"http://{HOST}:{port}", model, "served", place, requests, tokens, loads)
            work.write_prompts()
            values = {"python": sys.executable, "model": str(weights), "port": str(port), "threads": str(threads)}
            server = ServerProcess([word.format_map(values) for word in shlex.split(command)], work.url)
            try:
                server.wait_until_ready("/v1/models", _TIMEOUT_S)
                reports = alternate(work, rounds, program)
            finally:
                server.end()
            lines = list(table(work, figures(work, reports), reports))
        except DecodebenchError as error:
            raise click.ClickException(str(error)) from error
    machine = capture(anonymise=True, with_bandwidth=False)
    click.echo(f"{date.today().isoformat()}, {machine.cpu_model}, {machine.cores_used} cores")
    click.echo("\n".join(lines))


if __name__ == "__main__":
    main()
