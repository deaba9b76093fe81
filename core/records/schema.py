"""The shared record of every measurement, whichever tool wrote it: ``Run`` > ``Sample`` > ``RecordedStep``.

Units are in the names: seconds, bytes, tokens. ``None`` means that the log does not have the value; it is never a guess
and never zero. A raw log line is one of these models with a ``type`` beside it (see ``raw_log``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, JsonValue, PositiveFloat

from .record import Record as Record
from .server_session import ServerSession
from .step_figures import StepFigures

SCHEMA_VERSION = 2

Ladder = dict[Annotated[str, Field(pattern=r"^[1-9]\d*$")], PositiveFloat]
"""Bandwidth in bytes/s by working set in bytes; the latter as text, since it is a key of JSON."""

Status = Literal["ok", "failed", "timeout", "crashed", "interrupted", "skipped", "incomplete"]

THREADS = "n_threads"
"""Key of ``Run.settings`` for the CPU threads that the engine computed with."""


class Sampling(Record):
    """How the next token is chosen."""

    temperature: float = Field(0.0, ge=0, description="0 is greedy")
    top_p: float = Field(1.0, gt=0, le=1, description="nucleus mass; 1 keeps everything")
    top_k: int = Field(0, ge=0, description="keep the k most likely ids; 0 keeps all")
    seed: int = Field(0, ge=0, description="seed of the sampler; each sample adds its index")


class RecordedSampling(Record):
    """How the next token was chosen, as far as the log says."""

    temperature: float | None = Field(None, ge=0, description="0 is greedy")
    top_p: float | None = Field(None, gt=0, le=1, description="nucleus mass; 1 keeps everything")
    top_k: int | None = Field(None, ge=0, description="keep the k most likely ids; 0 keeps all")
    seed: int | None = Field(None, ge=0, description="seed of the sampler; each sample adds its index")


_NO_SAMPLING = RecordedSampling()


class Environment(Record):
    """The machine and the software that a round ran on."""

    hostname: str | None = Field(None, description="host name, or a hash of it when anonymised")
    username: str | None = Field(None, description="user name, or a hash of it when anonymised")
    platform: str | None = Field(None, description="operating system, e.g. Linux")
    release: str | None = Field(None, description="kernel release")
    machine: str | None = Field(None, description="instruction set, e.g. x86_64")
    cpu_model: str | None = Field(None, description="processor name as the system reports it")
    cpu_flags: tuple[str, ...] = Field((), description="instruction-set extensions that matter to inference")
    cores_used: int | None = Field(None, description="cores that the process may run on")
    memory_bytes: int | None = Field(None, description="physical memory")
    gpu: tuple[str, ...] = Field((), description="GPU names")
    gpu_driver: str | None = Field(None, description="GPU driver version")
    python: str | None = Field(None, description="Python version")
    packages: dict[str, str] = Field(default_factory=dict, description="versions of the distributions that matter")
    git_commit: str | None = Field(None, description="commit of the working directory, when it is a git checkout")
    governor: str | None = Field(None, description="CPU frequency governor, where readable")
    load_average: float | None = Field(None, description="system load over one minute before the round")
    on_battery: bool | None = Field(None, description="whether the machine ran on battery; None without one")
    cpu_temperature_c: float | None = Field(
        None, description="processor's hottest sensor before the round, in degrees Celsius, where readable"
    )
    default_threads: int | None = Field(
        None, ge=1, description="default number of threads of every engine, the same for a whole experiment"
    )
    memory_bandwidth: Ladder = Field(
        default_factory=dict,
        description="bandwidth of reading with the best number of threads, in bytes/s by working-set bytes (as text), "
        "measured once per host",
    )
    memory_bandwidth_1_thread: Ladder = Field(default_factory=dict, description="the same with one thread")
    matrix_flops_per_s: float | None = Field(
        None, gt=0, description="float32 matrix product with numpy's BLAS and all its threads, measured once per host"
    )
    rates_are_quiet: bool | None = Field(
        None, description="whether bandwidth and matrix product were measured while nothing else kept the host busy"
    )


class Totals(Record):
    """What a log says about all samples together."""

    samples: int | None = Field(None, ge=1, description="samples behind the totals")
    output_tokens: int | None = Field(None, ge=0, description="generated tokens, as the tool counts them")
    prompt_tokens: int | None = Field(None, ge=0, description="tokens of all prompts")
    forwards: int | None = Field(None, ge=0, description="model evaluations")
    wall_s: float | None = Field(None, gt=0, description="time over all samples")
    tokens_per_s: float | None = Field(None, ge=0, description="rate as printed; the metric is computed independently")
    accuracy: float | None = Field(None, ge=0, le=1, description="mean score")
    cycles: int | None = Field(None, ge=0, description="verify cycles of speculation")
    drafted: int | None = Field(None, ge=0, description="draft tokens proposed in them")
    accepted: int | None = Field(None, ge=0, description="draft tokens accepted in them, bonus tokens not counted")
    mean_first_token_s: float | None = Field(None, ge=0, description="mean time to first token, as printed")
    mean_duration_s: float | None = Field(None, ge=0, description="mean time of a sample, as printed")
    mean_tpot_s: float | None = Field(None, ge=0, description="mean time per token after the first, as printed")


class Run(Record):
    """One execution of one cell of the matrix, in a process of its own."""

    # identity
    run_id: str = Field(description="UUID of the round")
    experiment: str = Field(description="name of the experiment that the round belongs to")
    cell_id: str = Field(description="hash of what was compared and how; equal for all rounds of a cell")
    round: int = Field(ge=0, description="index of the round within its cell, from 0")
    order: int | None = Field(None, ge=0, description="position of the round in the interleaved schedule")
    max_rounds: int | None = Field(
        None, ge=3, description="largest number of rounds, if they were added until a verdict; None: fixed"
    )
    block: str | None = Field(
        None, description="id shared by rounds that were measured in turn, a batch each; None: alone"
    )
    cell_index: int | None = Field(
        None, ge=0, description="position of the cell in the plan; the first is the baseline"
    )
    started_at: str = Field(description="UTC start time, ISO 8601; empty if the log has none")
    conditions_hash: str | None = Field(
        None, description="hash of all recorded conditions; filled in when the log is read"
    )
    # what was compared
    backend: str = Field(description="backend name")
    backend_version: str | None = Field(None, description="version of the engine")
    plugin: str | None = Field(None, description="distribution and version that provided the backend")
    plugin_revision: str | None = Field(
        None, description="commit of an editable install (+dirty: files differ), or sha256 of a one-off file"
    )
    kind: str | None = Field(None, description="autoregressive, speculative or diffusion")
    model: str = Field(description="model as the user named it")
    model_hash: str | None = Field(None, description="SHA-256 over the model's files")
    size: str | None = Field(None, description="size label, e.g. 1B")
    quantisation: str = Field(description="weight format in the backend's own words")
    bits_per_weight: float | None = Field(None, gt=0, description="measured bits per weight, scales included")
    device: str = Field(description="cpu, cuda:0, metal, ...")
    options: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="every option of the backend, fully expanded; template.NAME is an argument of the chat template",
    )
    changed_options: tuple[str, ...] | None = Field(
        None, description="names of the options that are not at their default"
    )
    residence: Literal["in-process", "owned-server", "remote"] | None = Field(
        None, description="where the engine ran: in the round's process, in a server that it started, or elsewhere"
    )
    # how
    task: str | None = Field(None, description="task name; None for fixed-length workloads")
    task_version: str | None = Field(None, description="version of the task")
    task_plugin: str | None = Field(None, description="distribution and version that provided the task")
    task_plugin_revision: str | None = Field(None, description="as plugin_revision, of the task")
    seed: int | None = Field(None, description="seed that chose the prompts")
    samples: int | None = Field(None, ge=0, description="requested measured samples")
    attempts: int | None = Field(None, ge=1, description="answers per problem, all counted as samples")
    warmup: int | None = Field(None, ge=0, description="warm-up samples before the measured ones")
    max_new_tokens: int | None = Field(None, ge=1, description="token limit of each sample")
    batch_size: int | None = Field(None, ge=1, description="rows generated together")
    depth: int | None = Field(
        None, ge=0, description="context tokens put before each prompt of a fixed-length workload"
    )
    ignore_eos: bool | None = Field(None, description="whether generation goes on past the end token")
    chat: bool | None = Field(None, description="whether the chat template was applied")
    system: str | None = Field(None, description="system message before each chat; None: the task's own, or none")
    allow_clipped: bool | None = Field(None, description="whether outputs may be shortened if the context is too small")
    stop: tuple[str, ...] | None = Field(None, description="stop strings; may be empty")
    sampling: RecordedSampling = Field(default_factory=lambda: _NO_SAMPLING, description="how the next token is chosen")
    workload: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="every workload setting as in the plan, without the models; for another tool's log those that it "
        "has and that are not columns",
    )
    first_step_is_prefill: bool | None = Field(
        None,
        description="true: the first step is exactly the prefill and one token; false: the prefill and perhaps more; "
        "None: perhaps without the prefill, so that it says nothing about the time to first token",
    )
    conditions: dict[str, JsonValue] = Field(
        default_factory=dict, description="further conditions: from the log, or a label given at import"
    )
    # where
    launcher: str | None = Field(None, description="what ran the worker: local, or a launcher of a plugin")
    environment: Environment | None = Field(None, description="machine and software")
    # outcome
    status: Status = Field("ok", description="how the round ended")
    cut: str | None = Field(None, description="why it ended before all its samples; the finished ones count")
    reason: str | None = Field(None, description="why, when it is not ok")
    reason_code: str | None = Field(None, description="stable code of the reason, one of docs/errors.md or a plugin's")
    prepare_s: float | None = Field(None, ge=0, description="convert and quantise; near 0 from the cache")
    import_s: float | None = Field(None, ge=0, description="process start until the backend's module is imported")
    load_s: float | None = Field(None, ge=0, description="weights into memory, engine import included")
    warmup_s: float | None = Field(
        None, ge=0, description="compiling and capturing between load and the first sample; None if there is none"
    )
    wall_s: float | None = Field(
        None, ge=0, description="whole round, process start to end; in a block without waiting for others"
    )
    idle_cpus: float | None = Field(
        None, ge=0, description="CPUs that it used on average while others of its block measured, if readable"
    )
    parameters: int | None = Field(None, ge=0, description="parameters, tied ones once")
    weight_bytes: int | None = Field(None, ge=0, description="bytes of the weights in the engine")
    read_weight_bytes: int | None = Field(None, ge=0, description="bytes of the weights that one decode step reads")
    kv_bytes_per_token: int | None = Field(None, ge=0, description="bytes of one position in the KV cache, all layers")
    peak_rss_bytes: int | None = Field(
        None, ge=0, description="largest resident set of the engine's process, or of its server's process tree"
    )
    peak_device_bytes: int | None = Field(None, ge=0, description="largest device memory, if counted")
    device_use: float | None = Field(None, ge=0, le=1, description="mean share of time that the GPU was busy")
    device_clock_hz: float | None = Field(None, ge=0, description="mean clock of the GPU's cores")
    device_other_processes: int | None = Field(None, ge=0, description="processes on the GPU before the round started")
    device_temperature_c: float | None = Field(None, description="highest temperature of the GPU, in degrees Celsius")
    other_cpus: float | None = Field(
        None, ge=0, description="CPUs that other processes kept busy over the round, of those that it may run on; mean"
    )
    energy_j: float | None = Field(None, ge=0, description="energy of the GPU over the round, loading included")
    context_length: int | None = Field(
        None, ge=1, description="longest sequence in tokens that the engine accepts here"
    )
    stop_token_ids: tuple[int, ...] | None = Field(None, description="ids that end a generation")
    settings: dict[str, str] = Field(
        default_factory=dict, description="settings that the engine chose; n_threads: its CPU threads"
    )
    notes: tuple[str, ...] = Field((), description="notes for readers of the figures")
    totals: Totals | None = Field(
        None,
        description="what the log says of all samples together; figures come from it where there are no samples",
    )
    sessions: tuple[ServerSession, ...] = Field(
        (), description="servers that answered, in the order in which they started"
    )
    extra: dict[str, JsonValue] = Field(
        default_factory=dict, description="other values of the log, under its own names; exports write them back"
    )
    derived: tuple[str, ...] = Field((), description="fields that were computed from rounded figures of the log")
    # provenance
    source_format: str = Field("decodebench", description="log format")
    source_file: str | None = Field(None, description="the file, relative to the output folder")
    source_line: int | None = Field(None, ge=1, description="line of that file at which the run starts, from 1")
    parser: str | None = Field(None, description="parser and version")
    parser_plugin: str | None = Field(None, description="distribution and version that provided the parser")
    parser_plugin_revision: str | None = Field(None, description="as plugin_revision, of the parser")


class Sample(Record):
    """One prompt and its generation."""

    run_id: str = Field(description="the run it belongs to")
    index: int = Field(ge=0, description="index within the run, warm-up samples first")
    is_warmup: bool = Field(False, description="run and recorded, but in no statistic")
    sample_id: str | None = Field(None, description="the task's identity of the problem; pairs samples across runs")
    prompt: str | None = Field(None, description="prompt text, special tokens included")
    prompt_tokens: int | None = Field(None, ge=0, description="prompt ids passed to the engine")
    depth_tokens: int | None = Field(None, ge=0, description="of these, context evaluated before the clock started")
    depth_s: float | None = Field(None, ge=0, description="time that this context took")
    prompt_hash: str | None = Field(None, description="SHA-256 over the prompt ids, 16 hex digits")
    output_tokens: int | None = Field(
        ge=0, description="ids committed, including the stop token once; None if a log does not count them"
    )
    output_ids: tuple[int, ...] | None = Field(None, description="the committed ids")
    token_limit: int | None = Field(None, ge=1, description="token limit of this sample, if different from the run's")
    text: str | None = Field(
        None, description="generated text, special tokens and stop strings removed; of choices the likeliest one"
    )
    finish: Literal["stop", "length", "stop-string", "error"] | None = Field(None, description="why it ended")
    due_s: float | None = Field(
        None, description="when the request was due, in seconds since the round's process started, or the log's clock"
    )
    start_s: float | None = Field(None, description="start, on the same clock; of a request, when it was sent")
    admitted_s: float | None = Field(None, description="when the engine started on the request, on the same clock")
    end_s: float | None = Field(None, description="when the request ended, on the same clock")
    session: int | None = Field(None, ge=0, description="index of the server in the run's sessions that answered")
    duration_s: float | None = Field(None, ge=0, description="start until the last step")
    first_token_s: float | None = Field(None, ge=0, description="start until the first token, if there are no steps")
    prefill_s: float | None = Field(None, ge=0, description="time of the prompt alone, if there are no steps")
    decode_tokens: int | None = Field(None, ge=0, description="tokens generated in decode_s, if there are no steps")
    decode_s: float | None = Field(None, ge=0, description="time of decoding alone, if there are no steps")
    decode_forwards: int | None = Field(None, ge=0, description="model evaluations in decode_s, if there are no steps")
    variation: float | None = Field(
        None,
        ge=0,
        description="for a mean of repetitions: their standard deviation divided by that mean",
    )
    batch: int | None = Field(None, ge=0, description="index of the batch it was generated in")
    batch_s: float | None = Field(None, ge=0, description="wall time of that whole batch")
    reference: str | None = Field(None, description="the right answer, in the task's form")
    extracted: str | None = Field(None, description="the answer found in the text")
    score: float | None = Field(None, ge=0, le=1, description="1 is right, 0 is wrong")
    scores: dict[str, float] = Field(default_factory=dict, description="other measures of the same answer, by name")
    choices: tuple[str, ...] | None = Field(None, description="answers whose log-probabilities were compared")
    choice_logprobs: tuple[float, ...] | None = Field(
        None, description="log-probability of each choice after its prompt, natural logarithm, summed over its tokens"
    )
    choice_is_greedy: tuple[bool, ...] | None = Field(
        None, description="whether each token of the choice was the most likely one"
    )
    chosen: int | None = Field(None, ge=0, description="index of the most likely choice")
    scored_tokens: int | None = Field(
        None, ge=0, description="ids of all prompts with their choices, a prompt counted once per choice"
    )
    status: Literal["ok", "failed"] = Field("ok", description="failed samples have no figures")
    reason: str | None = Field(None, description="why it failed")
    reason_code: str | None = Field(None, description="stable code of the reason, one of docs/errors.md or a plugin's")
    engine: dict[str, float] = Field(default_factory=dict, description="the engine's own counters for this sample")
    extra: dict[str, JsonValue] = Field(
        default_factory=dict, description="other values of the log, under its own names; exports write them back"
    )
    source_line: int | None = Field(
        None, ge=1, description="its line in the run's source_file; None where not recorded"
    )


class StepPlace(Record):
    """Where and when a step was, and what it committed."""

    run_id: str = Field(description="the run it belongs to")
    sample: int = Field(ge=0, description="index of the sample")
    index: int = Field(ge=0, description="index within the sample, from 0; step 0 ends the prefill")
    t_s: float | None = Field(None, ge=0, description="time of the commit since the sample's start")
    step_s: float | None = Field(None, ge=0, description="time since the previous commit, or since the start")
    tokens: int = Field(ge=0, description="tokens committed")
    token_ids: tuple[int, ...] | None = Field(None, description="the ids, in order of position")
    text: str | None = Field(None, description="the step's own piece of text")


class RecordedStep(StepFigures, StepPlace):
    """One commit of tokens: place, time, and the decoder's figures."""

    positions: tuple[int, ...] | None = Field(None, description="diffusion: where the tokens landed")
    trace: dict[str, JsonValue] | None = Field(
        None, description="anything else that the decoder reports, under its own names"
    )
    source_line: int | None = Field(
        None, ge=1, description="its line in the run's source_file; None where not recorded"
    )

    if TYPE_CHECKING:  # pydantic's plugin for mypy misses fields of a plain base; run time checks them all

        def __init__(self, **fields: Any) -> None: ...  # noqa: ANN401 - fields of several types


def json_schemas() -> dict[str, Any]:
    """Return the JSON Schema of the three records, by name."""
    return {model.__name__: model.model_json_schema() for model in (Run, Sample, RecordedStep)}
