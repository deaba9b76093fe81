"""Which gRPC server answers sooner: a thread pool or grpc.aio, with an answer that takes no time of its own.

The verification server's model works for one call at a time, in native code. What the server adds is the way of a small
message there and back: measured with one client, as a decoder is, and with eight at once.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import click
import grpc

from decodebench.core.measure.machine.environment import capture
from decodebench.plugins.draft_target.proto import verification_pb2 as pb
from decodebench.plugins.draft_target.proto.verification_pb2_grpc import (
    VerificationServicer,
    VerificationStub,
    add_VerificationServicer_to_server,
)

ANSWER = pb.VerificationResponse(num_accepted_tokens=5, next_token_id=7, acceptance_mask=[True] * 5)


class Echo(VerificationServicer):
    def VerifyDraft(self, request: pb.VerificationRequest, context: grpc.ServicerContext) -> pb.VerificationResponse:
        return ANSWER


class AsyncEcho(VerificationServicer):
    async def VerifyDraft(
        self, request: pb.VerificationRequest, context: grpc.aio.ServicerContext
    ) -> pb.VerificationResponse:
        return ANSWER


def serve_threads() -> None:
    server = grpc.server(ThreadPoolExecutor(16))
    add_VerificationServicer_to_server(Echo(), server)
    print(server.add_insecure_port("localhost:0"), flush=True)
    server.start()
    server.wait_for_termination()


async def serve_aio() -> None:
    server = grpc.aio.server()
    add_VerificationServicer_to_server(AsyncEcho(), server)
    print(server.add_insecure_port("localhost:0"), flush=True)
    await server.start()
    await server.wait_for_termination()


def latencies(address: str, calls: int) -> list[float]:
    request = pb.VerificationRequest(session_id="s" * 32, prefix_start=99, draft_token_ids=[5, 6, 7, 8, 9])
    with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        stub = VerificationStub(channel)
        for _ in range(100):
            stub.VerifyDraft(request)
        found = []
        for _ in range(calls):
            began = time.perf_counter()
            stub.VerifyDraft.future(request).result()
            found.append(1e3 * (time.perf_counter() - began))
    return found


def together(address: str, calls: int, clients: int) -> list[float]:
    found: list[float] = []
    threads = [threading.Thread(target=lambda: found.extend(latencies(address, calls))) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@click.command()
@click.option("--calls", default=2000, show_default=True)
@click.option("--rounds", default=3, show_default=True, help="The servers in turn, so many times.")
@click.option("--serve", type=click.Choice(["threads", "aio"]), hidden=True)
def main(calls: int, rounds: int, serve: str | None) -> None:
    """Measure both servers."""
    if serve:
        serve_threads() if serve == "threads" else asyncio.run(serve_aio())
        return
    found: dict[tuple[str, int], list[float]] = {}
    for _ in range(rounds):
        for kind in ("threads", "aio"):
            command = [sys.executable, __file__, "--serve", kind]
            server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            address = f"localhost:{int(server.stdout.readline())}"
            for clients in (1, 8):
                found.setdefault((kind, clients), []).extend(together(address, calls // clients, clients))
            server.kill()
            server.wait()
    machine = capture(anonymise=True, with_bandwidth=False)
    print(f"{date.today()}, {machine.cpu_model}, {machine.cores_used} cores, grpcio {grpc.__version__}\n")
    print("| server | clients | median | 95th percentile |\n| --- | --- | --- | --- |")
    for (kind, clients), values in sorted(found.items(), key=lambda item: (item[0][1], item[0][0])):
        p95 = sorted(values)[int(0.95 * len(values))]
        print(f"| {kind} | {clients} | {statistics.median(values):.2f} ms | {p95:.2f} ms |")


if __name__ == "__main__":
    main()
