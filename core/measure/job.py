"""What the parent tells a worker: one JSON line on its standard input. Both sides share these models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, JsonValue, TypeAdapter

from ..host.packed_models import ModelJob, PreparedJob
from ..records.schema import Record
from ..records.workload import Workload


class PromptJob(Record):
    """One prompt: text, chat turns, or nothing where the workload asks for random ids."""

    sample_id: str
    is_warmup: bool
    text: str | None = None
    messages: tuple[tuple[str, str], ...] = ()
    choices: tuple[str, ...] = Field((), description="texts to score behind the prompt, instead of generating")
    contexts: tuple[str, ...] = Field((), description="a prompt for each choice, where they differ")
    random_tokens: int | None = Field(None, ge=1, description="length of a random prompt, context included")
    random_seed: str = ""
    depth: int = Field(0, ge=0, description="so many of its first ids are context, there before the clock starts")
    max_new_tokens: int | None = Field(None, ge=1, description="token limit of this one; None: the workload's")
    answer_like: str | None = Field(None, description="no more tokens than this text has, where the limit allows them")
    due_s: float | None = Field(None, ge=0, description="when it is to be sent, from the load's start on")
    after: int | None = Field(
        None, ge=0, description="it waits for the end of this one: index among its kind, warm-up or measured"
    )


class ContinuationJob(Record):
    """A prompt and what follows it: output ids to be scored, or a text to be encoded first."""

    prompt: PromptJob
    output_ids: tuple[int, ...] = ()
    text: str | None = Field(None, description="what follows the prompt, instead of ids; for `evaluate` only")


class ServerJob(Record):
    """A server that runs already, started by another worker for several rounds.

    Times are those of ``time.perf_counter_ns``, which all processes of a machine share.
    """

    id: str = Field(description="of this life of the server")
    url: str
    pid: int | None
    command: tuple[str, ...]
    version: str | None
    started_ns: int
    ready_ns: int
    is_new: bool = Field(False, description="no round has asked it yet, so that its start counts as this round's load")


class Job(Record):
    """What every job says: which backend, where it is found, and how its process is limited."""

    plugin: str = Field(description="name or address of the plugin to load")
    plugin_file: Path | None = Field(None, description="the file that is the plugin, where it is not installed")
    python: Path | None = Field(None, description="interpreter of the worker; None: the host's own")
    backend: str
    options: dict[str, JsonValue] = {}
    device: str = "cpu"
    quantisation: str = ""
    cache_root: Path | None = None
    memory_limit_bytes: int | None = None
    n_threads: int | None = Field(None, ge=1, description="CPU threads by the backend's option; None: the default")
    default_threads: int | None = Field(None, ge=1, description="where no option says how many; None: the cores")


class DevicesJob(Job):
    """Name the devices that the backend can use here."""

    action: Literal["devices"] = "devices"


class PrepareJob(Job):
    """Convert or quantise a model into the cache."""

    action: Literal["prepare"] = "prepare"
    model: ModelJob


class HostJob(Job):
    """Start the backend's server and keep it until standard input ends."""

    action: Literal["host"] = "host"
    prepared: PreparedJob


class LoadedJob(Job):
    """What is done with a loaded model, in a ``Session``."""

    prepared: PreparedJob
    server: ServerJob | None = Field(None, description="of a backend with a server; None: the worker starts its own")
    workload: Workload = Workload()
    seed: int = 0

    def hosting(self) -> HostJob:
        """Return the job that starts the server of this one's backend and model."""
        return HostJob(**{name: getattr(self, name) for name in Job.model_fields}, prepared=self.prepared)


class MeasureJob(LoadedJob):
    """Measure every prompt."""

    action: Literal["measure"] = "measure"
    prompts: tuple[PromptJob, ...]


class ScoreJob(LoadedJob):
    """Score the last id of each continuation."""

    action: Literal["score"] = "score"
    continuations: tuple[ContinuationJob, ...]
    top_k: int = Field(2, ge=2, description="likeliest ids at its place")


class EvaluateJob(LoadedJob):
    """Score every position of each continuation."""

    action: Literal["evaluate"] = "evaluate"
    continuations: tuple[ContinuationJob, ...]
    top_k: int = Field(0, ge=0, description="likeliest ids at each position")
    whole_vocabulary_up_to: int = Field(0, description="a vocabulary of so many ids is given whole")


class ServeJob(LoadedJob):
    """Answer requests until standard input ends."""

    action: Literal["serve"] = "serve"


SessionJob = MeasureJob | ScoreJob | EvaluateJob | ServeJob
AnyJob = DevicesJob | PrepareJob | HostJob | SessionJob

_JOBS: TypeAdapter[AnyJob] = TypeAdapter(Annotated[AnyJob, Field(discriminator="action")])


def read_job(line: str) -> AnyJob:
    """Return the job that a line holds; its ``action`` says which."""
    return _JOBS.validate_json(line)
