"""Whether draft, target, options and workload go together; read from configuration files alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ... import ModelError, UsageError
from ...core.contract.model import ResolvedModel
from ...core.contract.preflight import PlannedCell, Preflight
from ...core.sdk.checkpoint import read_json
from ...core.sdk.decoder_config import ARCHITECTURES
from ...core.sdk.hugging_face import refuse_unknown
from ...core.sdk.tokenizer import vocabulary_hash
from .address import is_loopback
from .options import DraftTargetOptions
from .rules import rule_for

NAME = "draft-target"
ONE_AT_A_TIME = "several requests at once need server = 'embedded' and optimistic = false"
_DRAFTING = (
    "drafter", "adaptive", "max_draft_tokens", "optimistic", "num_candidates", "candidate_temperature",
    "candidate_top_p", "lookup_longest", "lookup_shortest", "rule",
)  # fmt: skip


def preflight(cell: PlannedCell[DraftTargetOptions]) -> Preflight:
    """Hold everything against one another before anything loads.

    Raises:
        UsageError: a rule that does not go with the temperature.
        ModelError: draft or target is no Hugging Face folder, or they have different tokenizers; names both.
    """
    model, options, temperature = cell.model, cell.options, cell.workload.temperature
    refuse_unknown(model)
    if options.server == "embedded":
        _refuse_windows(model, options.target_backend)
    if options.server == "embedded" or options.rule is not None:
        rule_for(options.rule, temperature)
    errors = (*_of_files(options), *_of_token(options), *_of_draft(cell), *_of_rows(cell))
    if not errors and needs_draft(options):
        _check_draft(model, model.companions[NAME])
        _refuse_windows(model.companions[NAME], options.draft_backend)
    return Preflight(
        errors=errors,
        notes=tuple(_mixed_candidates(options, temperature)),
        inert=_inert_options(options),
        inexact=_why_inexact(options),
        lacks=() if options.server == "embedded" else ("depth",),  # a server evaluates when it is asked for a verdict
    )


def _of_files(options: DraftTargetOptions) -> Iterator[str]:
    for name in ("tls_ca", "auth_token_file"):
        file = getattr(options, name)
        if file is not None and not Path(file).expanduser().is_file():
            yield f"{name} = {file!r} is not a file"


def _of_rows(cell: PlannedCell[DraftTargetOptions]) -> Iterator[str]:
    several = cell.workload.batch_size > 1 or cell.workload.is_stream
    if several and (cell.options.server != "embedded" or cell.options.optimistic):
        yield ONE_AT_A_TIME


def _of_draft(cell: PlannedCell[DraftTargetOptions]) -> Iterator[str]:
    if needs_draft(cell.options) and NAME not in cell.model.companions:
        yield (
            f"no draft is known for {cell.model.name!r}: give one with --set {NAME}.draft=NAME_OR_PATH, or take "
            f"--set {NAME}.drafter=prompt-lookup"
        )


def _check_draft(model: ResolvedModel, draft: ResolvedModel) -> None:
    refuse_unknown(draft)
    if vocabulary_hash(draft.path) != vocabulary_hash(model.path):
        raise ModelError(
            f"draft {draft.name!r} and target {model.name!r} have different tokenizers: a drafted id would mean "
            "another token",
            code="tokenizer-mismatch",
        )


def _refuse_windows(model: ResolvedModel, engine: str) -> None:
    """Raise ``ModelError`` for layers of which transformers keeps a window alone: it cannot be cut back to a draft."""
    if engine != "transformers" and model.architecture in ARCHITECTURES:
        return  # our own layers keep every position
    config = read_json(model.path / "config.json")
    inner = config.get("text_config")
    text = {**config, **(inner if isinstance(inner, dict) else {})}
    types = text.get("layer_types")
    window = text.get("sliding_window") and text.get("use_sliding_window", True)
    if "sliding_attention" in types if types and isinstance(types, list) else window:
        raise ModelError(
            f"{model.path / 'config.json'}: sliding_window = {text.get('sliding_window')}: speculative decoding needs "
            "full attention in every layer",
            code="model-unsupported",
        )


def _why_inexact(options: DraftTargetOptions) -> str | None:
    """Claim exactness in float32 with an exact rule and a target of our own."""
    if options.server != "embedded":
        return "the server chooses the target's number format"
    if options.dtype not in ("float32", "float64"):
        return f"dtype = {options.dtype!r} rounds"
    return None if options.rule in (None, "deterministic") else f"rule = {options.rule!r} is not exact"


def check_token_is_safe(options: DraftTargetOptions) -> None:
    """Refuse to send a token where others could read it.

    Raises:
        UsageError: the server is another machine, and there is no TLS.
    """
    for error in _of_token(options):
        raise UsageError(f"{NAME}: {error}", code="bad-value")


def _of_token(options: DraftTargetOptions) -> Iterator[str]:
    is_local = options.server == "embedded" or is_loopback(options.server)
    if options.auth_token_file and options.tls_ca is None and not is_local:
        yield (
            f"server {options.server} is another machine, and without TLS anybody on the way could read the token: "
            f"give its certificate's authority with --set {NAME}.tls_ca=PEM"
        )


def needs_draft(options: DraftTargetOptions) -> bool:
    """Whether a draft model is loaded."""
    return options.num_draft_tokens > 0 and options.drafter == "model"


def _inert_options(options: DraftTargetOptions) -> Mapping[str, str]:
    """Return the options that have no effect beside the others, each with the reason."""
    found: dict[str, str] = {}
    if options.num_draft_tokens == 0:
        found |= dict.fromkeys(_DRAFTING, "with num_draft_tokens = 0, which drafts nothing")
    if not needs_draft(options):
        found |= dict.fromkeys(("draft", "draft_backend"), "without a draft model")
    if not options.adaptive:
        found["max_draft_tokens"] = "without adaptive"
    if options.num_candidates == 1:
        found |= dict.fromkeys(("candidate_temperature", "candidate_top_p"), "with one candidate")
    if options.drafter == "prompt-lookup":
        found["num_candidates"] = "with drafter = 'prompt-lookup', which finds one draft"
    else:
        found |= dict.fromkeys(("lookup_longest", "lookup_shortest"), "without drafter = 'prompt-lookup'")
    if options.server == "embedded":
        found |= dict.fromkeys(("deadline_s", "reconnects"), "with server = 'embedded'")
    else:
        found["target_backend"] = "with a server, which has its own"
    return found


def _mixed_candidates(options: DraftTargetOptions, temperature: float) -> Iterator[str]:
    if needs_draft(options) and options.num_candidates > 1 and temperature == 0:
        yield "the first of the candidates is the greedy draft, the others are drawn"
