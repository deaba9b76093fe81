"""Proposals and verdicts as messages of the verification protocol, and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from .proposal import Proposal
from .proto import verification_pb2 as pb
from .rules import RuleName

if TYPE_CHECKING:
    from torch import Tensor

PROTOCOL_VERSION = 1
_FLOAT_BYTES = 4
_ROUNDING = 1e-3
_PAIR_BYTES = 7  # a probability, and an id as a varint of three bytes

_RULES: dict[RuleName, pb.Rule] = {
    "deterministic": pb.RULE_DETERMINISTIC,
    "probabilistic": pb.RULE_PROBABILISTIC,
    "probabilistic-approx": pb.RULE_PROBABILISTIC_APPROX,
}


def rule_number(name: RuleName | None) -> pb.Rule:
    """Return a rule as the protocol numbers it; None is left to the other side."""
    return pb.RULE_UNSPECIFIED if name is None else _RULES[name]


def rule_name(number: int) -> RuleName | None:
    """Return the rule of a number; None where it is left open.

    Raises:
        ValueError: there is no such rule.
    """
    names: dict[int, RuleName] = {rule: name for name, rule in _RULES.items()}
    if number and number not in names:
        raise ValueError(f"rule = {number} is none; known: {', '.join(names.values())}")
    return names.get(number)


def packed(row: Tensor) -> pb.Distribution:
    """Pack a distribution [V]: the likely ids alone where that is shorter; nothing is rounded away."""
    import torch

    row = row.to("cpu", torch.float32)
    ids = row.nonzero()[:, 0]
    if len(ids) * _PAIR_BYTES < len(row) * _FLOAT_BYTES:
        return pb.Distribution(probabilities=_bytes(row[ids]), ids=ids.tolist())
    return pb.Distribution(probabilities=_bytes(row))


def unpacked(distributions: Sequence[pb.Distribution], vocabulary: int, device: str) -> Tensor:
    """Unpack K distributions as [K, V].

    Raises:
        ValueError: lengths that do not go together, ids outside the vocabulary, or what is no probability.
    """
    import torch

    rows = torch.zeros(len(distributions), vocabulary)
    for index, distribution in enumerate(distributions):
        _fill(rows[index], distribution, f"draft_distributions[{index}]")
    return rows.to(device)


def _fill(row: Tensor, distribution: pb.Distribution, name: str) -> None:
    import numpy as np
    import torch

    data, ids = distribution.probabilities, distribution.ids
    if len(data) % _FLOAT_BYTES:
        raise ValueError(f"{name}.probabilities has {len(data)} bytes, which are no float32 numbers")
    values = torch.from_numpy(np.frombuffer(data, "<f4").copy())
    if not len(values) or len(values) > len(row) or (ids and len(ids) != len(values)):
        raise ValueError(f"{name} has {len(values)} probabilities and {len(ids)} ids; the vocabulary has {len(row)}")
    if ids and (max(ids) >= len(row) or len(set(ids)) < len(ids)):
        raise ValueError(f"{name}.ids must be distinct and below {len(row)}")
    if not (values.isfinite().all() and values.min() >= 0 and abs(float(values.double().sum()) - 1) < _ROUNDING):
        raise ValueError(f"{name}.probabilities are no probabilities that add up to 1")
    if ids:
        row[list(ids)] = values
    else:
        row[: len(values)] = values


def _bytes(values: Tensor) -> bytes:
    return values.numpy().astype("<f4").tobytes()


def drafts_of(proposal: Proposal, *, with_distributions: bool) -> Iterable[dict[str, Any]]:
    """Return each candidate's fields of a ``VerificationRequest``."""
    for index, ids in enumerate(proposal.candidates):
        fields: dict[str, Any] = {"draft_token_ids": ids}
        if proposal.logprobs is not None:
            fields["draft_logprobs"] = proposal.logprobs[index]
        if with_distributions and proposal.distributions is not None:
            fields["draft_distributions"] = [packed(row) for row in proposal.distributions[index]]
        yield fields
