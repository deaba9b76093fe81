"""Loads, drawn lengths, traces and service levels as a user writes them, and the prompts that they make."""

from __future__ import annotations

import itertools
import json
import random
import statistics

import pytest
from pydantic import ValidationError

from decodebench.core.errors import UsageError
from decodebench.core.measure.job import PromptJob
from decodebench.core.measure.prefixes import with_unique_prefixes
from decodebench.core.measure.streams.arrivals import with_due_times
from decodebench.core.measure.streams.random_requests import random_prompts
from decodebench.core.measure.streams.trace_file import digest_of_trace, read_trace
from decodebench.core.measure.sweeps.workloads import WorkloadAxes
from decodebench.core.records.lengths import Lengths
from decodebench.core.records.workload import Workload

from ..refusals import refused


def cells_of(workload):
    """Return the workload of every combination of its axes."""
    axes = WorkloadAxes(workload, {})
    named = dict(axes.axes())
    return [axes.at(dict(zip(named, values, strict=True))) for values in itertools.product(*named.values())]


def test_loads_are_swept_and_each_cell_has_one():
    workload = Workload(prompt_tokens=4, concurrency="1,4", request_rate=[0.5, 2])
    cells = cells_of(workload)
    assert [(cell.in_flight, cell.rate_per_s) for cell in cells] == [(1, 0.5), (1, 2.0), (4, 0.5), (4, 2.0)]
    assert cells[3].loads() == {"concurrency": 4, "request_rate": 2.0}
    plain = Workload(prompt_tokens=4)
    assert cells_of(plain) == [plain] and not plain.is_stream and plain.loads() == {}
    assert plain.identity() == Workload(prompt_tokens=4, slo={}).identity()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"concurrency": 0, "prompt_tokens": 4}, "concurrency"),
        ({"concurrency": "1,x", "prompt_tokens": 4}, "concurrency"),
        ({"request_rate": float("inf"), "prompt_tokens": 4}, "request_rate"),
        ({"concurrency": 2, "batch_size": 4}, "batch_size"),
        ({"slo": "ttft=1s"}, "slo"),
        ({"slo": "ttfb=1s", "concurrency": 1}, "ttfb"),
        ({"slo": "ttft=-1s", "concurrency": 1}, "ttft"),
        ({"slo": "ttft", "concurrency": 1}, "ttft"),
        ({"slo": "ttft=500ms,ttft=1s", "concurrency": 1}, "ttft is limited twice"),
        ({"slo": {"ttft": "1s", "ttft_s": 2}, "concurrency": 1}, "ttft_s is limited twice"),
        ({"slo": {"ttft": True}, "concurrency": 1}, "ttft = True"),
        ({"prompt_lengths": "lognormal:100:50"}, "lognormal:100:50:MOST"),
        ({"prompt_lengths": "normal:100:1e9"}, "normal:100:1e9:MOST"),
        ({"prompt_lengths": "uniform:9:3"}, "uniform:9:3"),
        ({"prompt_lengths": "gauss:9:3"}, "gauss:9:3"),
        ({"prompt_lengths": "uniform:1:3", "prompt_tokens": 4}, "prompt_lengths"),
        ({"output_lengths": "uniform:1:3"}, "output_lengths"),
        ({"turns": 2, "prompt_tokens": 4}, "turns"),
        ({"trace": "t.jsonl", "prompt_tokens": 4}, "trace"),
    ],
)
def test_what_cannot_be_is_refused_and_named(settings, named):
    with pytest.raises(ValidationError, match=named):
        Workload(**settings)


def test_a_service_level_is_kept_in_seconds():
    found = Workload(prompt_tokens=4, concurrency=1, slo="ttft=500ms, tpot=50us,e2e=2s").slo
    assert found == pytest.approx({"ttft_s": 0.5, "tpot_s": 5e-5, "e2e_s": 2.0})
    assert Workload(prompt_tokens=4, concurrency=1, slo=found).slo == found


@pytest.mark.parametrize(
    ("text", "mean", "sd"), [("uniform:10:30", 20, 6.06), ("normal:100:10", 100, 10), ("lognormal:50:0.5", 56.7, 30.2)]
)
def test_lengths_follow_their_distribution(text, mean, sd):
    chooser = random.Random(3)
    drawn = [Lengths.parse(text).draw(chooser) for _ in range(4000)]
    assert statistics.fmean(drawn) == pytest.approx(mean, rel=0.03)
    assert statistics.stdev(drawn) == pytest.approx(sd, rel=0.08)
    assert min(drawn) >= 1


def test_a_long_tail_may_be_cut():
    chooser = random.Random(3)
    assert max(Lengths.parse("lognormal:50:2:200").draw(chooser) for _ in range(999)) == 200
    assert {Lengths.parse("lognormal:100:5000:9").draw(chooser) for _ in range(99)} == {1, 9}


def test_a_conversation_has_a_prefix_that_grows_and_waits_for_its_turn_before():
    workload = Workload(
        prompt_tokens=10, output_lengths="uniform:3:5", turns=3, concurrency=2, samples=7, warmup=1, request_rate=4
    )
    (cell,) = cells_of(workload)
    jobs = with_due_times(list(random_prompts(workload, 5)), cell, 5)
    measured = [job for job in jobs if not job.is_warmup]
    assert [job.after for job in measured] == [None, 0, 1, None, 3, 4, None]
    assert len({job.random_seed for job in measured}) == 3  # ids are drawn one by one, so that one seed is one prefix
    for job in measured:
        if job.after is not None:
            before = measured[job.after]
            assert job.random_tokens == before.random_tokens + before.max_new_tokens + 10
    assert [job.due_s is None for job in jobs] == [True, False, True, True, False, True, True, False]
    assert jobs == with_due_times(list(random_prompts(workload, 5)), cell, 5)


def test_unique_prefixes_are_a_conversations_own_in_each_round():
    workload = Workload(prompt_tokens=10, turns=2, concurrency=2, samples=4, warmup=1)
    random_ids = list(random_prompts(workload, 5))
    texts = [
        PromptJob(sample_id=str(at), is_warmup=at == 0, text=f"{'first ' * at}", after=1 if at == 3 else None)
        for at in range(4)
    ]
    rounds = [list(with_unique_prefixes(jobs, round)) for round in ("e:0", "e:1") for jobs in (random_ids, texts)]
    again = list(with_unique_prefixes(texts, "e:0"))
    assert rounds[1] == again and [job.text.split("\n")[1] for job in again] == [job.text for job in texts]
    begins = [[job.random_seed for job in jobs] for jobs in rounds[::2]]
    begins += [[job.text.split("\n")[0] for job in jobs] for jobs in rounds[1::2]]
    for warmup, *measured in begins:
        assert measured[-1] == measured[-2] or measured[-1] == measured[1]  # a later turn begins as the first one
        assert len({warmup, *measured}) == 3
    assert len({name for names in begins for name in names}) == 12
    assert [job.random_tokens for job in rounds[0]] == [job.random_tokens for job in random_ids]
    scored = PromptJob(sample_id="c", is_warmup=False, text="x", choices=("a", "b"))
    assert list(with_unique_prefixes([scored], "e:0")) == [scored]


TRACES = {
    "mooncake.jsonl": '{"timestamp": 1500, "input_length": 7, "output_length": 3, "hash_ids": [0]}\n'
    '{"timestamp": 500, "input_length": 9, "output_length": 2, "hash_ids": [0]}\n',
    "azure.csv": "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,9,2\n"
    "2023-11-16 18:17:04.9799600,7,3\n",
    "burst.csv": "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,ChatGPT,9,2,11,API log\n"
    "5.5,GPT-4,4,0,4,API log\n6,ChatGPT,7,3,10,API log\n",
}


@pytest.mark.parametrize("name", TRACES)
def test_traces_give_times_and_lengths(tmp_path, name):
    path = tmp_path / name
    path.write_text(TRACES[name])
    found = read_trace(path)
    assert [(one.prompt_tokens, one.output_tokens) for one in found] == [(9, 2), (7, 3)]
    assert found[1].at_s - found[0].at_s == pytest.approx(1.0)
    workload = Workload(trace=str(path), samples=5, warmup=0)
    (cell,) = cells_of(Workload(trace=str(path), samples=5, warmup=0, request_rate=0.25))
    jobs = with_due_times(list(random_prompts(workload, 1)), cell, 1)
    assert [(job.random_tokens, job.max_new_tokens, job.due_s) for job in jobs] == [(9, 2, 0.0), (7, 3, 4.0)]
    before = digest_of_trace(path)
    path.write_text(TRACES[name] + "\n")
    assert digest_of_trace(path) != before


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('{"timestamp": 1}\n', "t.jsonl:1: none of the columns input_length"),
        ('{"timestamp": 1, "input_length": 0, "output_length": 1}\n', "t.jsonl:1: input_length = 0"),
        ('{"timestamp": "soon", "input_length": 1, "output_length": 1}\n', "t.jsonl:1: timestamp = 'soon'"),
        ('{"timestamp": true, "input_length": 1, "output_length": 1}\n', "t.jsonl:1: timestamp = True"),
        ('{"timestamp": 1, "input_length": 5.7, "output_length": 1}\n', "t.jsonl:1: input_length = 5.7"),
        ('{"timestamp": 1, "input_length": 1, "output_length": true}\n', "t.jsonl:1: output_length = True"),
        ('\n \n{"timestamp": 1, "input_length": 1, "output_length": Infinity}\n', "t.jsonl:3: output_length = inf"),
        ("[1]\n", "t.jsonl:1: no JSON object"),
        ("{\n", "t.jsonl:1: not JSON"),
        ("", "no request in it"),
    ],
)
def test_a_bad_trace_is_named_with_its_line(tmp_path, text, named):
    path = tmp_path / "t.jsonl"
    path.write_text(text)
    with pytest.raises(UsageError, match=named):
        read_trace(path)
    with refused("file-unreadable"):
        digest_of_trace(tmp_path / "none.jsonl")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.jsonl", '{{"timestamp": 0, "input_length": {}, "output_length": 3}}\n\n'),
        ("t.csv", "Timestamp,Request tokens,Response tokens\n\n0,{},3\n\n"),
    ],
)
def test_lengths_are_whole_numbers_in_either_format(tmp_path, name, text):
    path = tmp_path / name
    for written in ("12", "12.0", "1.2e1"):
        path.write_text(text.format(written))
        assert [one.prompt_tokens for one in read_trace(path)] == [12]
    for written in ("5.7", "true", "-1"):
        path.write_text(text.format(written))
        with pytest.raises(UsageError, match=rf"{name}:{1 if name == 't.jsonl' else 3}: .* is not a number of tokens"):
            read_trace(path)


def test_the_turns_of_a_file_are_prompts_with_the_recorded_answers(tmp_path):
    from decodebench.core.isolation.plugins import all_plugins

    talk = [("human", "one"), ("gpt", "two"), ("human", "three"), ("gpt", "four"), ("human", "unanswered")]
    shapes = {
        "sharegpt.json": json.dumps(
            [{"id": "a", "conversations": [{"from": who, "value": said} for who, said in talk]}]
        ),
        "openai.jsonl": json.dumps({"messages": [{"role": who, "content": said} for who, said in talk]}) + "\n",
    }
    for name, text in shapes.items():
        path = tmp_path / name
        path.write_text(text.replace('"human"', '"user"').replace('"gpt"', '"assistant"') if "jsonl" in name else text)
        task = all_plugins().task(f"conversations:{path}?turns=2")
        first, second = task.samples(9, 1)
        assert (first.prompt, first.answer_like, first.after) == ("one\n\n", "two", None)
        assert (second.prompt, second.answer_like, second.after) == ("one\n\ntwo\n\nthree\n\n", "four", first.id)
        assert second.messages == (("user", "one"), ("assistant", "two"), ("user", "three"))
    path.write_text("{}\n")
    with refused("file-unreadable", "entry 1", "conversations"):
        all_plugins().task(f"conversations:{path}")
    with pytest.raises(UsageError, match=r"turns=3"):
        all_plugins().task(f"conversations:{path}?turns=0")
