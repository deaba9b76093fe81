"""Messages of a stream, parsed where a malformed one can be refused.

Where grpcio (1.85.3) parses them itself, a message that is none ends the stream twice:
once by the parser, and again when the handler sees no further message. The second status is never sent, so the call
never ends, and a server that is to stop waits for it for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import grpc
from google.protobuf.message import DecodeError


class ParseStreams(grpc.ServerInterceptor):  # type: ignore[misc]  # grpc states no types
    """Has grpcio hand over the bytes of streams; refuses what they are not."""

    def intercept_service(
        self, continuation: Callable[..., grpc.RpcMethodHandler | None], details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler | None:
        """Parse in front of the handler."""
        handler = continuation(details)
        if handler is None or handler.stream_stream is None:
            return handler
        parse, answer = handler.request_deserializer, handler.stream_stream

        def requests(contents: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[object]:
            for content in contents:
                try:
                    request = parse(content)
                except DecodeError:
                    context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the bytes are no message of this method")
                yield request

        return grpc.stream_stream_rpc_method_handler(
            lambda contents, context: answer(requests(contents, context), context),
            response_serializer=handler.response_serializer,
        )
