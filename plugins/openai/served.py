"""What every backend does whose engine answers over HTTP, whoever started the server."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from ... import BackendError, ModelError
from ...core.contract.backend import Backend, Capability, Kind
from ...core.contract.generation import Request, Step
from ...core.contract.model import ModelFacts, PreparedModel
from ...core.contract.options import O
from ...core.contract.requirements import Requires
from ...core.contract.stream import RequestSource
from ...core.records.engine_counters import EngineCounters
from ...core.sdk.batches import AllDue
from .client import Client
from .conversation import Conversation
from .extra_fields import fault_of
from .options import ClientOptions
from .prometheus import growth, read_counters
from .prompt_texts import PromptTexts
from .server_facts import DIALECTS, ServerFacts, decode, encode, look
from .transport import Transport

_TRIED = "The 3 quick foxes: naïve façade, 12.5 %\n\tdef f(x): return x"
_METRICS_S = 5.0
"""Longest wait for the counters, which are asked for between samples."""

_OF_REQUESTS = ("speculation_rounds", "draft_tokens", "accepted_draft_tokens")


class ServedBackend(Backend[O]):
    """A client of one server."""

    kind: ClassVar[Kind] = "autoregressive"
    supports: ClassVar[frozenset[Capability]] = frozenset({"sampling", "tokenizer", "continuous"})
    max_batch_size: ClassVar[int] = 1024

    requires: ClassVar[Requires | None] = Requires(
        ("aiohttp",), fix='pip install "decodebench[openai]"', shown="aiohttp {0}"
    )
    """The client's; the engine's version is the server's to tell."""

    _client: Client | None = None

    def connect(
        self, url: str, api: str, options: ClientOptions, model: PreparedModel, key: str | None = None
    ) -> ModelFacts:
        """Look at a server and agree on how it is asked.

        Args:
            url: of the server.
            api: its family, or ``"auto"``.
            options: how requests are made.
            model: whose tokenizer prompts were made with.
            key: the API key.

        Raises:
            BackendError: there is no answer, it is not clear which of its models is meant, or ``extra_body`` has a
                field that is stated already.
            ModelError: the server has another tokenizer, or takes text and the model has no tokenizer here.
        """
        self._client = Client(Transport(url, options, key))
        try:
            return self._agreed(api, options, model)
        except BaseException:
            ServedBackend.close(self)  # the host closes what was loaded
            raise

    def _agreed(self, api: str, options: ClientOptions, model: PreparedModel) -> ModelFacts:
        client = self._connected
        self._facts = facts = client.wait_for(look(client.transport, api, options.served_model))
        dialect = DIALECTS[facts.api]()
        texts = PromptTexts(model.source.path)
        if not dialect.has_ids and not texts:
            raise ModelError(
                f"{model.source.path} has no tokenizer, and {client.transport.url} takes text alone "
                f"(api {facts.api!r}): give a model folder with tokenizer.json",
                code="missing-flag",
            )
        if texts:
            self._check_tokenizer(texts, model)
        avoids = options.prefix_cache == "avoid"
        if fault := fault_of(options.extra_body, dialect, avoids_cache=avoids):
            raise BackendError(f"{client.transport.url} is asked as {facts.api!r}: {fault}", code="bad-value")
        self._conversation = Conversation(dialect, facts.model, avoids, texts, options.extra_body)
        self._counters = self._counted()
        self._rows = 0
        known = {
            "api": facts.api,
            "token_ids": "server" if dialect.has_ids else "re-tokenised",
            "prefix_cache": "off" if avoids and dialect.can_avoid_cache else "as the server has it",
            **({"served_model": facts.model} if facts.model else {}),
        }
        return ModelFacts(context_length=facts.context_length, vocabulary_size=facts.vocabulary_size, settings=known)

    def _check_tokenizer(self, texts: PromptTexts, model: PreparedModel) -> None:
        own, theirs = texts.encode(_TRIED), self._ask_ids(_TRIED, adds_special=False)
        if theirs is not None and theirs != own:
            at = next((at for at, pair in enumerate(zip(own, theirs, strict=False)) if pair[0] != pair[1]), len(own))
            raise ModelError(
                f"{self._connected.transport.url} has another tokenizer than {model.source.path}: token {at + 1} of a "
                "text differs; does it serve another model?",
                code="tokenizer-mismatch",
            )

    @property
    def _connected(self) -> Client:
        assert self._client is not None, "load comes first"
        return self._client

    @property
    def server_facts(self) -> ServerFacts:
        """What the server said of itself."""
        return self._facts

    def generate(self, batch: Sequence[Request]) -> Iterator[Step]:
        """Send all requests at once."""
        return self.stream(AllDue(batch), len(batch))

    def stream(self, source: RequestSource, max_in_flight: int) -> Iterator[Step]:
        """Send requests as they become due."""
        self._rows += max_in_flight
        return self._connected.stream(source, max_in_flight, self._conversation)

    def counters(self) -> EngineCounters:
        """Return what the client cost, and by how much the server's own counters grew, since the last call.

        The server's are of all requests together: those of a batch carry that in their names.
        """
        now = self._counted()
        grown = growth(self._counters, now)
        self._counters = now
        if self._rows > 1:
            grown = {f"batch_{name}" if name in _OF_REQUESTS else name: value for name, value in grown.items()}
        self._rows = 0
        return EngineCounters.of({**self._connected.take_costs(), **grown})

    def _counted(self) -> Mapping[str, float] | None:
        """Return the server's counters; None where it did not give them, now or ever."""
        client = self._connected
        try:
            status, page = client.wait_for(client.transport.get("/metrics", _METRICS_S))
        except BackendError:  # a server that has died says so where it is asked for tokens
            return None
        return read_counters(page) if status == 200 and isinstance(page, str) else None

    def _ask_ids(self, text: str, *, adds_special: bool) -> list[int] | None:
        client = self._connected
        return client.wait_for(encode(client.transport, self._facts, text, adds_special=adds_special))

    def encode(self, text: str, *, adds_special: bool = True) -> list[int]:
        """Tokenise with the server's tokenizer.

        Raises:
            BackendError: it offers none.
        """
        ids = self._ask_ids(text, adds_special=adds_special)
        if ids is None:
            raise BackendError(
                f"{self._connected.transport.url} does not tokenise: give a model with tokenizer.json",
                code="not-supported",
            )
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Turn ids into text with the server's tokenizer.

        Raises:
            BackendError: it offers none.
        """
        client = self._connected
        text = client.wait_for(decode(client.transport, self._facts, ids))
        if text is None:
            raise BackendError(
                f"{client.transport.url} does not detokenise: give a model with tokenizer.json", code="not-supported"
            )
        return text

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None


def key_of(variable: str | None) -> str | None:
    """Return the API key that an environment variable holds.

    Raises:
        BackendError: the variable is not set, or no header can hold it.
    """
    if variable is None:
        return None
    key = os.environ.get(variable)
    if not key:
        raise BackendError(
            f"api_key_env = {variable!r}: there is no such environment variable, or it is empty", code="missing-flag"
        )
    if not key.isprintable():
        raise BackendError(
            f"api_key_env = {variable!r}: its value has a line break or another control character",
            code="bad-value",
        )
    return key
