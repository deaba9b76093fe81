"""What a backend declares reaches the host: requirements, options, preflight, counters, warm-up, its classic log."""

from __future__ import annotations

import json

import pytest

from decodebench import Backend, BackendOptions, EngineCounters, Requires
from decodebench.core.contract import requirements
from decodebench.core.contract.options import O
from decodebench.core.host.contributions import renamed
from decodebench.core.records.engine_counters import counter

PLUGIN = """
from decodebench import (
    Backend, BackendOptions, EngineCounters, ModelFacts, Preflight, Quantisation, Step, Task, TaskSample, hookimpl
)
from pydantic import Field


class Options(BackendOptions):
    cores: int | None = Field(None, ge=1, description="CPU threads")
    width: int = Field(1, description="a number")
    idle: int = Field(0, description="without effect")


class Declaring(Backend[Options]):
    name, summary, kind = "declaring", "declares what the host reads of it", "autoregressive"
    first_step_is_prefill = True
    supports = frozenset({"score"})
    threads_option = "cores"
    score_options = frozenset({"cores"})

    @classmethod
    def quantisations(cls):
        return [Quantisation("served", None, "nobody says")]

    @classmethod
    def preflight(cls, cell):
        width, task = cell.options.width, cell.workload.task
        errors = [f"width = {width} is too much for {cell.model.name}", f"{task} is too hard"] if width > 8 else []
        return Preflight(tuple(errors), (f"{cell.device} it is",), {"idle": "ever"})

    def load(self, model, device, options):
        return ModelFacts(context_length=64, n_threads=options.cores, settings={"state": "cold", "kept": "yes"})

    def warmup(self):
        return {"state": "warm"}

    def generate(self, batch):
        for row, request in enumerate(batch):
            for at in range(request.max_new_tokens):
                yield Step([20 + at], row=row, forwards=1)

    def counters(self):
        return EngineCounters(peak_device_bytes=4096, own={"own_s": 0.5})

    def classic_log(self, batch):
        lines = (f"{one.number}: {[id for s in one.steps for id in s.token_ids]} {one.duration_s > 0}" for one in batch)
        return "".join(f"{line}\\n" for line in lines)


class Pick(Task):
    name, version, summary = "pick", "1", "choices to score"

    def samples(self, n, seed):
        for at in range(n):
            yield TaskSample(f"pick/{at}", "Take one:", "0", choices=(" a", " b"))


@hookimpl
def decodebench_backends():
    return [Declaring]


@hookimpl
def decodebench_tasks():
    return [Pick]
"""


@pytest.fixture
def run(cli, tmp_path):
    """Run the plugin above on two prompts and a warm-up, two tokens each."""
    (tmp_path / "declaring.py").write_text(PLUGIN)

    def call(*flags):
        what = ["-b", "declaring", "-m", "tiny:draft", "--samples", 2, "--rounds", 1, "--max-new-tokens", 2]
        task = () if "--task" in flags else ("--task", "tiny-gsm")
        return cli("--plugin", tmp_path / "declaring.py", "run", *what, *task, *flags, "-o", tmp_path / "o", "--json")

    return call


def test_what_a_backend_declares_is_recorded(run, tmp_path):
    ended = run("--set", "cores=3,5", "--set", "idle=1")
    assert ended.code == 0, ended.err
    assert ended.err.count("declaring: idle = 1 has no effect ever") == 1 == ended.err.count("declaring: cpu it is")
    logs = sorted((tmp_path / "o").glob("raw/declaring/*.jsonl"))
    found = []
    for log in logs:
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        by_type = {line["type"]: line for line in lines}
        load, end, sample = by_type["load"], by_type["end"], by_type["sample"]
        found.append(load["settings"]["n_threads"])
        assert {name: load["settings"][name] for name in ("state", "kept")} == {"state": "warm", "kept": "yes"}
        assert load["warmup_s"] >= 0 and load["parameters"] is None and load["weight_bytes"] is None
        assert sample["engine"] == {"own_s": 0.5, "peak_device_bytes": 4096} and end["peak_device_bytes"] == 4096
        text = log.with_name(log.name.removesuffix(".jsonl") + ".txt").read_text()
        assert text == "".join(f"{number}: [20, 21] True\n" for number in (1, 2, 3))
    assert sorted(found) == ["3", "5"]


def test_preflight_refuses_with_every_reason_and_a_sweep_of_what_is_inert(run):
    refused = run("--set", "width=9")
    assert refused.code == 2
    for reason in ("declaring: width = 9 is too much for tiny:draft", "declaring: tiny-gsm is too hard"):
        assert reason in refused.err
    assert "idle has no effect ever, so 1 and 2 are the same experiment" in run("--set", "idle=1,2").err
    scoring = run("--task", "pick", "--set", "width=1,2")
    assert scoring.code == 2 and "width has no effect where choices are scored" in scoring.err


class Options(BackendOptions):
    """No option."""


class Between(Backend[O]):
    """A base of several backends."""


class Named(Between[Options]):
    """States its options by the base's parameter."""

    name = "named"


def test_options_are_those_that_the_base_class_is_given():
    assert Between.Options is BackendOptions
    assert Named.Options is Options
    assert renamed(Named, "other:named").Options is Options


def test_requirements_name_what_is_missing(monkeypatch):
    installed = {"engine": "2.0", "engine-cpu": "1.5"}

    def version(name):
        if name not in installed:
            raise requirements.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(requirements, "version", version)
    needed = Requires(("engine", ("engine-gpu", "engine-cpu")), fix="pip install engine", shown="{0} ({1})")
    assert needed.availability().version == "2.0 (1.5)"
    del installed["engine-cpu"]
    missing = needed.availability()
    assert (missing.available, missing.reason, missing.fix) == (
        False,
        "engine-cpu is not installed",
        "pip install engine",
    )


def test_counters_are_stored_flat_and_read_back_typed():
    counters = EngineCounters(draft_tokens=12, accepted_draft_tokens=5, own={"engine_s": 0.25})
    assert counters.figures() == {"engine_s": 0.25, "draft_tokens": 12, "accepted_draft_tokens": 5}
    assert EngineCounters.of(counters.figures()) == counters
    for wrong in (-1.0, 1e300):
        with pytest.raises(ValueError, match="a counter speculation_rounds of"):
            EngineCounters.of({"speculation_rounds": wrong})
    assert "draft_tokens" in counter("draft_tokens")
    with pytest.raises(KeyError):
        counter("drafted_tokens")
