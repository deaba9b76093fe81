"""A server of fixed timing: each answer is an event every so many seconds, and the time of every event is kept.

Run as a program it prints its port. It speaks vLLM's ``/v1/completions``; the first id of a prompt names the request.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

_HEAD = "HTTP/1.1 {} OK\r\nContent-Type: {}\r\n{}\r\n"


class Stub:
    """Answers until it is killed.

    Args:
        interval_s: between two events of an answer.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._sent: dict[int, list[int]] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:  # the client has closed the connection
                writer.close()
                return
            request, *headers = head.decode().split("\r\n")
            length = next((int(line.split(":")[1]) for line in headers if line.lower().startswith("content-length")), 0)
            body = json.loads(await reader.readexactly(length)) if length else {}
            path = request.split()[1]
            if path == "/v1/completions":
                await self._answer(body, writer)
            elif path == "/v1/models":
                self._page(writer, {"data": [{"id": "stub", "owned_by": "vllm", "max_model_len": 1_000_000}]})
            elif path == "/sent":
                self._page(writer, self._sent)
                self._sent = {}
            else:
                self._page(writer, {}, status=404)
            await writer.drain()

    async def _answer(self, body: dict, writer: asyncio.StreamWriter) -> None:
        writer.write(_HEAD.format(200, "text/event-stream", "Transfer-Encoding: chunked\r\n").encode())
        count = body["max_tokens"]
        stamps = self._sent.setdefault(body["prompt"][0], [])
        begin = time.perf_counter()
        for number in range(count):
            await asyncio.sleep(max(0.0, begin + (number + 1) * self._interval_s - time.perf_counter()))
            reason = "length" if number == count - 1 else None
            choice = {"index": 0, "text": " token", "token_ids": [number], "finish_reason": reason}
            usage = {"prompt_tokens": len(body["prompt"]), "completion_tokens": number + 1}
            event = {"id": "cmpl-0", "object": "text_completion", "model": "stub", "choices": [choice], "usage": usage}
            stamps.append(time.perf_counter_ns())
            self._chunk(writer, f"data: {json.dumps(event)}\n\n".encode())
        self._chunk(writer, b"data: [DONE]\n\n")
        self._chunk(writer, b"")

    def _chunk(self, writer: asyncio.StreamWriter, content: bytes) -> None:
        writer.write(b"%x\r\n%s\r\n" % (len(content), content))

    def _page(self, writer: asyncio.StreamWriter, page: object, status: int = 200) -> None:
        content = json.dumps(page).encode()
        writer.write(_HEAD.format(status, "application/json", f"Content-Length: {len(content)}\r\n").encode() + content)


async def _main(interval_s: float) -> None:
    server = await asyncio.start_server(Stub(interval_s).serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(float(sys.argv[1])))
