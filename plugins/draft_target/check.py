"""Whether draft, target, options and workload go together; read from configuration files alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ... import ModelError, UsageError
from ...core.contract.model import ResolvedModel
from ...core.sdk.tokenizer import vocabulary_hash
from .address import is_loopback
from .options import DraftTargetOptions
from .rules import rule_for

if TYPE_CHECKING:
    from ...core.records.workload import Workload

NAME = "draft-target"
_DRAFTING = (
    "drafter", "adaptive", "max_draft_tokens", "optimistic", "num_candidates", "candidate_temperature",
    "candidate_top_p", "lookup_longest", "lookup_shortest", "rule",
)  # fmt: skip


def check_cell(model: ResolvedModel, options: DraftTargetOptions, workload: Workload) -> list[str]:
    """Hold everything against one another before anything loads.

    Returns:
        What will be done in another way than was asked for.

    Raises:
        UsageError: a rule that does not go with the temperature, or no draft is known.
        ModelError: draft or target is no Hugging Face folder, or they have different tokenizers; names both.
    """
    _check_folder(model)
    for name in ("tls_ca", "auth_token_file"):
        file = getattr(options, name)
        if file is not None and not Path(file).expanduser().is_file():
            raise UsageError(f"{name} = {file!r} is no file")
    check_token_is_safe(options)
    if options.server == "embedded" or options.rule is not None:
        rule_for(options.rule, workload.temperature)
    if not needs_draft(options):
        return []
    draft = model.companions.get(NAME)
    if draft is None:
        raise UsageError(
            f"{NAME}: no draft is known for {model.name!r}: give one with --set {NAME}.draft=NAME_OR_PATH, or take "
            f"--set {NAME}.drafter=prompt-lookup"
        )
    _check_folder(draft)
    if vocabulary_hash(draft.path) != vocabulary_hash(model.path):
        raise ModelError(
            f"draft {draft.name!r} and target {model.name!r} have different tokenizers: a drafted id would mean "
            "another token"
        )
    return list(_mixed_candidates(options, workload.temperature))


def check_token_is_safe(options: DraftTargetOptions) -> None:
    """Refuse to send a token where others could read it.

    Raises:
        UsageError: the server is another machine, and there is no TLS.
    """
    is_local = options.server == "embedded" or is_loopback(options.server)
    if options.auth_token_file and options.tls_ca is None and not is_local:
        raise UsageError(
            f"{NAME}: server {options.server} is another machine, and without TLS anybody on the way could read the "
            f"token: give its certificate's authority with --set {NAME}.tls_ca=PEM"
        )


def needs_draft(options: DraftTargetOptions) -> bool:
    """Whether a draft model is loaded."""
    return options.num_draft_tokens > 0 and options.drafter == "model"


def inert_options(options: DraftTargetOptions) -> Mapping[str, str]:
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
    if options.num_candidates > 1 and temperature == 0:
        yield "the first of the candidates is the greedy draft, the others are drawn"


def _check_folder(model: ResolvedModel) -> None:
    if not model.path.is_dir() or model.architecture is None:
        raise ModelError(f"{model.path} is no Hugging Face folder (no config.json with 'architectures')")
