"""Who may speak to the server, and over what."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from pathlib import Path

import grpc

from .... import UsageError

_METADATA_KEY = "authorization"
_HANDLERS = {  # by whether requests and whether responses come as a stream
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}
_FREE = "/grpc.health.v1.Health/"  # a load balancer asks without a token


class TokenCheck(grpc.ServerInterceptor):  # type: ignore[misc]  # grpc states no types
    """Refuses calls without the token."""

    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}".encode()

    def intercept_service(
        self, continuation: Callable[..., grpc.RpcMethodHandler], details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler | None:
        """Let calls with the right token pass."""
        given = dict(details.invocation_metadata).get(_METADATA_KEY, "")
        if details.method.startswith(_FREE) or hmac.compare_digest(str(given).encode(), self._expected):
            return continuation(details)

        def refuse(request: object, context: grpc.ServicerContext) -> None:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "the token is missing or wrong")

        handler = continuation(details)
        if handler is None:
            return None
        return _HANDLERS[handler.request_streaming, handler.response_streaming](refuse)


def token_metadata(token: str) -> tuple[tuple[str, str], ...]:
    """Return what a client sends along with every call."""
    return ((_METADATA_KEY, f"Bearer {token}"),)


def read_token(file: str | Path) -> str:
    """Read a token; white space around it does not count.

    Raises:
        UsageError: the file cannot be read or holds none.
    """
    try:
        token = Path(file).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"auth token file {file}: {error}", code="file-unreadable") from error
    if not token or not token.isascii() or not token.isprintable():
        raise UsageError(
            f"auth token file {file}: it holds no token of printable ASCII characters", code="file-unreadable"
        )
    return token


def read_pem(option: str, file: str | Path) -> bytes:
    """Read a PEM file.

    Raises:
        UsageError: it cannot be read or is none; names the option.
    """
    try:
        content = Path(file).expanduser().read_bytes()
    except OSError as error:
        raise UsageError(f"{option} {file}: {error.strerror}", code="file-unreadable") from error
    if b"-----BEGIN" not in content:
        raise UsageError(f"{option} {file}: no PEM file", code="file-unreadable")
    return content
