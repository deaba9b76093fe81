"""The backend ``openai``: a server that somebody else runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from ... import UsageError
from ...core.contract.backend import BackendOptions
from ...core.contract.model import ModelFacts, PreparedModel, Quantisation, ResolvedModel
from ...core.contract.residence import Residence, RunningServer
from .options import OpenAIOptions
from .served import ServedBackend, key_of
from .server_facts import DIALECTS

if TYPE_CHECKING:
    from ...core.records.workload import Workload


class OpenAIBackend(ServedBackend):
    """Any OpenAI-compatible server, vLLM, llama-server, SGLang and Ollama in their own ways."""

    name: ClassVar[str] = "openai"
    summary: ClassVar[str] = "a running server: any OpenAI-compatible one, vLLM, llama-server, SGLang, Ollama"
    residence: ClassVar[Residence] = "remote"
    Options: ClassVar[type[BackendOptions]] = OpenAIOptions

    @classmethod
    def quantisations(cls) -> Sequence[Quantisation]:
        """Return the one answer that a client has."""
        return (Quantisation("served", None, "as the server has it; give its name with served_model"),)

    @classmethod
    def devices(cls) -> Sequence[str]:
        """Return the one answer that a client has: not here."""
        return ("remote",)

    @classmethod
    def check(cls, model: ResolvedModel, options: BackendOptions, workload: Workload) -> Sequence[str]:
        """Ask for the server's address, and say what differs from engines in process."""
        assert isinstance(options, OpenAIOptions)
        if options.url is None:
            raise UsageError("openai.url: give the address of the server, as in --set openai.url=http://127.0.0.1:8000")
        return notes_on(options.api, options.prefix_cache, workload)

    @classmethod
    def inert_options(cls, options: BackendOptions, *, is_scoring: bool = False) -> Mapping[str, str]:
        """Name what a family of servers cannot be asked for."""
        assert isinstance(options, OpenAIOptions)
        dialect = DIALECTS.get(options.api)
        if dialect is None or dialect.can_avoid_cache:
            return {}
        return {"prefix_cache": f"with api = {options.api!r}, which cannot be asked to compute a prompt anew"}

    @classmethod
    def why_inexact(cls, quantisation: str, options: BackendOptions) -> str | None:
        """Claim nothing."""
        return "the server chooses weights, number formats and batches"

    def load(self, model: PreparedModel, device: str, options: BackendOptions) -> ModelFacts:
        """Connect; see ``connect``."""
        assert isinstance(options, OpenAIOptions)
        assert options.url is not None, "check asks for it"
        facts = self.connect(options.url, options.api, options, model, key_of(options.api_key_env))
        self.server = RunningServer(options.url, version=self.server_facts.version)
        return facts


def notes_on(api: str, prefix_cache: str, workload: Workload) -> list[str]:
    """Return what a family of servers does in another way than engines in process."""
    dialect = DIALECTS.get(api)
    notes = []
    if api == "llama-server" and workload.ignore_eos:
        notes.append("under ignore_eos llama-server never chooses an end token, where engines in process do and go on")
    if dialect is not None and not dialect.has_ids and workload.is_fixed_length:
        notes.append("prompts of random ids are sent as text, which need not be as many tokens for the server")
    if dialect is not None and not dialect.can_avoid_cache and prefix_cache == "avoid":
        notes.append(f"a server asked as {api!r} may know prompts from before; findings name the hits that it reports")
    return notes
