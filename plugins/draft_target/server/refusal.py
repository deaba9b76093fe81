"""Requests that are refused, each with a gRPC status and the reason."""

from __future__ import annotations

import grpc


class Refused(Exception):
    """A request that cannot be done; it hurts nobody but its sender.

    Attributes:
        code: the status that the client gets.
        reason: why, and what would be right.
    """

    def __init__(self, code: grpc.StatusCode, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


def invalid(reason: str) -> Refused:
    """Refuse what is wrong in itself."""
    return Refused(grpc.StatusCode.INVALID_ARGUMENT, reason)
