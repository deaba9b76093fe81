"""What a setting of the workload declares holds wherever it is asked: identity, flags, records, conditions."""

from __future__ import annotations

import types
from typing import Union, get_args, get_origin

import pytest

from decodebench.core.cli.run import run as run_command
from decodebench.core.records.conditions import conditions_of, setting_of
from decodebench.core.records.schema import RecordedSampling, Run
from decodebench.core.records.workload import Workload

SETTINGS = Workload.settings()
FIRST = {
    "task", "max_new_tokens", "prompt_tokens", "output_tokens", "depth", "batch_size", "ignore_eos", "stop", "chat",
    "temperature", "top_p", "top_k", "samples", "warmup",
}  # fmt: skip
"""Part of every stored cell's identity, at their defaults too; no setting that comes later may be."""


def bare(kind):
    """A type without None and without what is annotated to it."""
    if get_origin(kind) in (Union, types.UnionType):
        kind = next(part for part in get_args(kind) if part is not types.NoneType)
    return bare(kind.__origin__) if hasattr(kind, "__metadata__") else kind


def another(name):
    """A value of a setting that is not its default."""
    field = Workload.model_fields[name]
    kind = bare(field.annotation)
    if kind is bool:
        return not field.default
    if kind in (int, float):
        return (field.default or 0) + 1
    if get_origin(kind) is tuple:
        return ({int: 2, float: 2.5, str: "text"}[bare(get_args(kind)[0])],)
    return {dict: {"name": 1}, list: ["text"]}.get(get_origin(kind), "text")


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_is_part_of_the_identity_where_it_says_so(name):
    plain = Workload()
    changed = plain.model_copy(update={name: another(name)})
    assert (changed.identity() != plain.identity()) == SETTINGS[name].is_identity
    assert changed.recorded() != plain.recorded() or name == "model"


def test_what_came_later_adds_nothing_to_the_identity_at_its_default():
    assert set(Workload().identity()) == FIRST


def test_every_setting_has_its_flag():
    flags = {parameter.name: parameter for parameter in run_command.params}
    for name, setting in SETTINGS.items():
        if setting.flag is None:
            assert name not in flags
            continue
        about = Workload.model_fields[name].description
        assert (setting.flag or f"--{name.replace('_', '-')}") in flags[name].opts
        assert flags[name].help.casefold().startswith(about.casefold())


@pytest.mark.parametrize("name", SETTINGS)
def test_what_has_no_effect_on_scoring_is_known(name):
    changed = Workload().model_copy(update={name: another(name)})
    assert set(changed.idle_in_scoring) == ({name} if SETTINGS[name].is_for_generation else set())


def run_of(**changes):
    about = {"run_id": "r", "experiment": "e", "cell_id": "c", "round": 0, "started_at": "", "backend": "b"}
    return Run(**about, model="m", quantisation="q", device="d", **changes)


def test_a_record_says_what_ran_and_what_it_does_not_say_is_the_default_of_our_own_only():
    recorded = run_of(workload={"prompt_tokens": 16}, depth=3, sampling=RecordedSampling(top_k=40)).model_dump()
    assert [setting_of(recorded, name) for name in ("prompt_tokens", "depth", "top_k")] == [16, 3, 40]
    later = next(name for name, setting in SETTINGS.items() if setting.since > 1 and name not in Run.model_fields)
    assert setting_of(recorded, later) == Workload.defaults()[later]
    foreign = run_of(source_format="vllm").model_dump()
    assert [setting_of(foreign, name) for name in ("prompt_tokens", "depth", "top_k", later)] == [None] * 4


def test_a_setting_at_its_default_is_no_further_condition():
    silent, said = run_of(), run_of(workload=Workload().recorded())
    assert conditions_of(said) == conditions_of(silent)
    assert conditions_of(run_of(workload={"prompt_tokens": 16}))["workload"] == {"prompt_tokens": 16}
