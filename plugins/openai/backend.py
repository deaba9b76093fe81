"""The backend ``openai``: a server that somebody else runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from ...core.contract.model import CONTAINERS, ModelFacts, PreparedModel, Quantisation
from ...core.contract.preflight import PlannedCell, Preflight
from ...core.contract.residence import Residence, RunningServer
from .extra_fields import fault_of
from .options import ClientOptions, OpenAIOptions
from .served import ServedBackend, key_of
from .server_facts import DIALECTS

if TYPE_CHECKING:
    from ...core.records.workload import Workload

INEXACT = "the server chooses weights, number formats and batches"
"""Why greedy tokens may differ from those of an engine in process."""


class OpenAIBackend(ServedBackend[OpenAIOptions]):
    """Any OpenAI-compatible server, vLLM, llama-server, SGLang and Ollama in their own ways."""

    name: ClassVar[str] = "openai"
    summary: ClassVar[str] = "a running server: any OpenAI-compatible one, vLLM, llama-server, SGLang, Ollama"
    residence: ClassVar[Residence] = "remote"

    @classmethod
    def quantisations(cls) -> Sequence[Quantisation]:
        """Return the one answer that a client has."""
        return (
            Quantisation("served", None, "as the server has it; give its name with served_model", reads=CONTAINERS),
        )

    @classmethod
    def devices(cls) -> Sequence[str]:
        """Return the one answer that a client has: not here."""
        return ("remote",)

    @classmethod
    def preflight(cls, cell: PlannedCell[OpenAIOptions]) -> Preflight:
        """Ask for the server's address, and say what differs from engines in process."""
        options = cell.options
        missing = "openai.url: give the address of the server, as in --set openai.url=http://127.0.0.1:8000"
        dialect = DIALECTS.get(options.api)
        inert = {}
        if dialect is not None and not dialect.can_avoid_cache:
            inert["prefix_cache"] = f"with api = {options.api!r}, which cannot be asked to compute a prompt anew"
        return Preflight(
            errors=(*((missing,) if options.url is None else ()), *errors_of(options.api, options)),
            notes=notes_on(options.api, options, cell.workload),
            inert=inert,
            inexact=INEXACT,
        )

    def load(self, model: PreparedModel, device: str, options: OpenAIOptions) -> ModelFacts:
        """Connect; see ``connect``."""
        assert options.url is not None, "preflight asks for it"
        facts = self.connect(options.url, options.api, options, model, key_of(options.api_key_env))
        self.server = RunningServer(options.url, version=self.server_facts.version)
        return facts


def errors_of(api: str, options: ClientOptions) -> tuple[str, ...]:
    """Return what cannot be asked of a family of servers; where it is not known yet, of any."""
    dialect = DIALECTS[api]() if api in DIALECTS else None
    fault = fault_of(options.extra_body, dialect, avoids_cache=options.prefix_cache == "avoid")
    return () if fault is None else (fault,)


def notes_on(api: str, options: ClientOptions, workload: Workload) -> tuple[str, ...]:
    """Return what a family of servers does in another way than engines in process."""
    dialect = DIALECTS.get(api)
    notes = []
    if api == "llama-server" and workload.ignore_eos:
        notes.append("under ignore_eos llama-server never chooses an end token, where engines in process do and go on")
    if dialect is not None and not dialect.has_ids and workload.is_random:
        notes.append("prompts of random ids are sent as text, which need not be as many tokens for the server")
    avoids = options.prefix_cache == "avoid"
    if dialect is not None and not dialect.can_avoid_cache and avoids and not workload.unique_prefix:
        notes.append(
            f"a server asked as {api!r} may know prompts from before, and findings name the hits that it reports: "
            "--unique-prefix begins each prompt as no other one"
        )
    if (dialect is None or dialect.can_avoid_cache) and avoids and workload.turns > 1:
        notes.append(
            "prefix_cache = 'avoid' has each turn computed whole: 'allow' lets the server know the turns before"
        )
    return tuple(notes)
