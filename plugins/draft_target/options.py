"""Options of the backend, in groups: models, drafting, rule, connection."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ...core.contract.options import BackendOptions
from .models.opening import Engine
from .rules import RuleName

DType = Literal["float32", "bfloat16", "float16", "float64"]
DrafterName = Literal["model", "prompt-lookup"]


class DraftTargetOptions(BackendOptions):
    """What changes the speed, the numbers or the decoding."""

    # models
    draft: str | None = Field(
        None, description="draft model: a named model, path or Hub id; by default the model's own"
    )
    draft_backend: Engine = Field("auto", description="engine of the draft; auto: own layers where they know the model")
    target_backend: Engine = Field("auto", description="engine of an embedded target, likewise")
    dtype: DType = Field("float32", description="number format of weights and activations, of draft and target")
    compile: bool = Field(False, description="torch.compile for both networks; needs a C++ compiler")
    n_threads: int | None = Field(None, ge=1, description="CPU threads; by default one per physical core that is free")
    # drafting
    drafter: DrafterName = Field("model", description="who drafts: the draft model, or n-gram matches in the text")
    num_draft_tokens: int = Field(5, ge=0, description="K: tokens of a draft; 0: the target alone, with the same loop")
    adaptive: bool = Field(
        False, description="K grows by one after a whole acceptance and shrinks to accepted + 1 after a rejection"
    )
    max_draft_tokens: int = Field(16, ge=1, description="largest K when it adapts")
    optimistic: bool = Field(
        False, description="draft on during a verification, as if it were going to accept everything"
    )
    num_candidates: int = Field(1, ge=1, le=64, description="drafts per round, verified together; the best is kept")
    candidate_temperature: Annotated[float, Field(gt=0)] = Field(
        1.0, description="several candidates: temperature that they are drawn at"
    )
    candidate_top_p: Annotated[float, Field(gt=0, le=1)] = Field(
        0.9, description="several candidates: nucleus that they are drawn from"
    )
    lookup_longest: int = Field(3, ge=1, description="prompt-lookup: longest n-gram that is looked up")
    lookup_shortest: int = Field(1, ge=1, description="prompt-lookup: shortest n-gram that is looked up")
    # rule
    rule: RuleName | None = Field(
        None, description="acceptance; None: a server's own, else exact: deterministic at temperature 0, probabilistic"
    )
    # connection
    server: str = Field("embedded", description="embedded, or HOST:PORT of a `decodebench serve-target`")
    tls_ca: str | None = Field(None, description="PEM file of certificates to trust; a connection with TLS")
    auth_token_file: str | None = Field(None, description="file that holds the server's token")
    deadline_s: float = Field(60.0, gt=0, description="longest wait for one verification")
    reconnects: int = Field(
        4, ge=0, description="how often a lost connection is made anew within one verification, before the sample fails"
    )

    @model_validator(mode="after")
    def _check(self) -> DraftTargetOptions:
        if self.lookup_shortest > self.lookup_longest:
            raise ValueError(
                f"lookup_shortest = {self.lookup_shortest} is above lookup_longest = {self.lookup_longest}"
            )
        if self.adaptive and self.num_draft_tokens > self.max_draft_tokens:
            raise ValueError(
                f"num_draft_tokens = {self.num_draft_tokens} is above max_draft_tokens = {self.max_draft_tokens}"
            )
        if self.num_candidates > 1:
            for name, is_set in {
                "optimistic": self.optimistic,
                "drafter = 'prompt-lookup'": self.drafter == "prompt-lookup",
                "rule = 'probabilistic-approx'": self.rule == "probabilistic-approx",
            }.items():
                if is_set:
                    raise ValueError(f"num_candidates = {self.num_candidates} cannot go with {name}: one draft a round")
        if self.optimistic and self.drafter == "prompt-lookup":
            raise ValueError("optimistic has nothing to gain with drafter = 'prompt-lookup': a look-up takes no time")
        host, _, port = self.server.rpartition(":")
        if self.server != "embedded" and not (host and port.isdigit() and int(port) < 65536):
            raise ValueError(f"server = {self.server!r} is neither 'embedded' nor HOST:PORT")
        if self.server == "embedded" and (self.tls_ca or self.auth_token_file):
            raise ValueError("tls_ca and auth_token_file are for a connection: server = 'embedded' has none")
        return self
