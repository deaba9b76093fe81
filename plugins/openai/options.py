"""Options of every backend whose engine answers over HTTP."""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, JsonValue, field_validator, model_validator

from ...core.contract.options import BackendOptions
from ...core.sdk.secrets import first_secret

ApiName = Literal["completions", "vllm", "llama-server", "sglang", "ollama"]
VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"


class ClientOptions(BackendOptions):
    """How requests are made, whoever started the server."""

    served_model: str | None = Field(
        None, min_length=1, description="name of the model in requests; by default the only one that the server lists"
    )
    prefix_cache: Literal["avoid", "allow"] = Field(
        "avoid",
        description="avoid asks the server, where it can be asked, to compute every prompt anew; allow lets it reuse "
        "what it knows",
    )
    connect_timeout_s: float = Field(10.0, gt=0, description="longest wait for a connection, in seconds")
    silence_timeout_s: float = Field(
        300.0,
        gt=0,
        description="longest wait for the next piece of an answer, comments of its stream not counted, in seconds; "
        "then the sample has failed",
    )
    retries: int = Field(
        0,
        ge=0,
        le=10,
        description="further attempts where the server refuses for now (429, 502, 503, 504) or is away, unless it asks "
        "to wait longer than silence_timeout_s",
    )
    extra_body: dict[str, JsonValue] = Field(
        {},
        description="further fields of every request, by the server's own names, none that the workload states; "
        "they are recorded",
    )

    api_key_env: str | None = Field(
        None, pattern=VARIABLE, description="environment variable that holds the API key, which is never recorded"
    )

    @field_validator("extra_body", mode="before")
    @classmethod
    def _of_text(cls, value: object) -> object:
        """Read the JSON that a flag gives."""
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError as error:
            raise ValueError(f'must be a JSON object, such as {{"logit_bias": {{"11": -5}}}}: {error}') from error

    @field_validator("extra_body")
    @classmethod
    def _no_secrets(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        if secret := first_secret(value):
            raise ValueError(f"{secret!r} looks like a secret, and options are recorded: use api_key_env")
        return value


class OpenAIOptions(ClientOptions):
    """Where a running server is, and how it wants to be asked."""

    url: str | None = Field(
        None, description="address of the server, such as http://127.0.0.1:8000; what follows it in paths is added"
    )
    api: Literal["auto", ApiName] = Field(
        "auto", description="how it is asked: its own way where it gives token ids, else OpenAI's /v1/completions"
    )

    @field_validator("url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be http://HOST:PORT or https://HOST")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("must have no user, password, query or fragment, since it is recorded: use api_key_env")
        return value.rstrip("/").removesuffix("/v1")

    @model_validator(mode="after")
    def _key_is_kept_secret(self) -> OpenAIOptions:
        if self.api_key_env and self.url and self.url.startswith("http://") and not is_loopback(self.url):
            raise ValueError(f"api_key_env would send a key to {self.url} unencrypted: use https")
        return self


def is_loopback(url: str) -> bool:
    """Whether an address is on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
