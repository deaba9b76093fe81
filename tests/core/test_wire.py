"""Both ends of the pipe between host and worker: a job is one model an action, a message comes as it was sent."""

from __future__ import annotations

import io
import math

import pytest
from pydantic import ValidationError

from decodebench.core.host.packed_models import ModelJob, PreparedJob
from decodebench.core.isolation.processes.messages import (
    Answer,
    Devices,
    Evaluation,
    Finish,
    Prepared,
    Score,
    Text,
    message,
    parse,
)
from decodebench.core.measure.job import (
    ContinuationJob,
    DevicesJob,
    EvaluateJob,
    HostJob,
    MeasureJob,
    PrepareJob,
    PromptJob,
    ScoreJob,
    ServeJob,
    read_job,
)
from decodebench.core.measure.wire import Wire
from decodebench.core.records.log_content import LineError
from decodebench.core.records.workload import Workload

MODEL = ModelJob(name="m", path="folder/m", content_hash="h", architecture=None, companions={})
PREPARED = PreparedJob(
    path="cache/m", format="f", weight_bytes=1, bits_per_weight=8.0, source=MODEL, quantisation="q", notes=("n",)
)
ABOUT = {"plugin": "p", "backend": "b", "options": {"n": 1}}
LOADED = {**ABOUT, "prepared": PREPARED, "workload": Workload(samples=3, stop=("#",)), "seed": 7}
PROMPT = PromptJob(sample_id="s", is_warmup=False, text="one")
JOBS = [
    DevicesJob(**ABOUT),
    PrepareJob(**ABOUT, model=MODEL),
    HostJob(**ABOUT, prepared=PREPARED),
    MeasureJob(**LOADED, prompts=(PROMPT,)),
    ScoreJob(**LOADED, continuations=(ContinuationJob(prompt=PROMPT, output_ids=(1,)),)),
    EvaluateJob(**LOADED, continuations=(ContinuationJob(prompt=PROMPT, text=" two"),), top_k=5),
    ServeJob(**LOADED),
]
MESSAGES = [
    Finish(status="failed", reason="it is über", peak_rss_bytes=2**40),
    Text(text="line\nline\n"),
    Devices(devices=("cpu", "cuda:0")),
    Prepared(model=PREPARED, prepare_s=0.5),
    Score(index=0, logprob=-1.5, top_logprobs=(-0.5, -1.5)),
    Evaluation(
        index=1, vocabulary_size=2, logprobs=(-math.inf,), is_greedy=(False,), top_ids=((1,),), top_logprobs=((0.0,),)
    ),
    Answer(values=[[-1.0, True], "text"], clipped=1),
]


def through(content):
    """What the parent reads of what a worker sends."""
    pipe = io.BytesIO()
    Wire(pipe).send(content)
    return parse(pipe.getvalue())


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.action)
def test_a_job_arrives_as_the_model_of_its_action(job):
    assert read_job(job.model_dump_json()) == job
    assert type(read_job(job.model_dump_json())) is type(job)


@pytest.mark.parametrize(
    "line",
    [
        DevicesJob(**ABOUT).model_dump_json().replace("devices", "dance"),
        DevicesJob(**ABOUT).model_dump_json().replace("devices", "measure"),
        '{"plugin": "p", "backend": "b"}',
        JOBS[-1].model_dump_json().replace('"seed":7', '"seed":7,"prompts":[]'),
    ],
    ids=["unknown action", "without what the action needs", "no action", "a field of another action"],
)
def test_a_job_with_what_its_action_does_not_have_is_refused(line):
    with pytest.raises(ValidationError):
        read_job(line)


@pytest.mark.parametrize("content", MESSAGES, ids=lambda content: type(content).__name__)
def test_a_message_is_read_as_it_was_sent(content):
    line = through(content)
    assert line["type"] == type(content).__name__.lower()
    assert message(type(content), line) == content


def test_what_a_plugin_gave_is_checked_by_the_parent():
    for content in (
        Score.model_construct(index=0, logprob=math.nan, top_logprobs=(0.0, 0.0)),
        Score.model_construct(index=0, logprob=0.0, top_logprobs=(0.0,)),
        Devices.model_construct(devices=(1,)),
    ):
        with pytest.raises(LineError, match="a wrong"):
            message(type(content), through(content))
