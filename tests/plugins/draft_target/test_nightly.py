"""Every way to draft on 200 prompts, near and far, over a wire that breaks; and two minutes of 32 clients."""

from __future__ import annotations

import random
import threading
import time

import psutil
import pytest

from .serving import Cuttable, Server

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(3600)]

LENGTHS = [{"num_draft_tokens": k} for k in range(1, 9)] + [{"adaptive": True}]
PLACES = ["embedded", "server", "cut"]
SOAK_S, CLIENTS = 120, 32


class Client:
    """Generates until the end, leaves some generations in the middle, and keeps count."""

    def __init__(self, tiny, address, number, deadline) -> None:
        self._tiny, self._deadline, self._rng = tiny, deadline, random.Random(number)
        self._backend = tiny.backend(server=address, drafter="prompt-lookup")
        self.finished = self.left = 0
        self.wrong: list[str] = []
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        while time.monotonic() < self._deadline:
            try:
                self._generate(self._rng.choice(self._tiny.prompts[:40]), self._rng.choice([0, 0, *range(1, 12)]))
            except Exception as error:  # noqa: BLE001 - told by the test
                self.wrong.append(repr(error))
        self._backend.close()

    def _generate(self, prompt, leave_after) -> None:
        output = []
        steps = self._backend.generate([self._tiny.request(prompt)])
        for index, step in enumerate(steps, 1):
            output += step.token_ids
            if index == leave_after:
                break
        steps.close()
        expected = self._tiny.alone(prompt)
        if leave_after and output == expected[: len(output)]:
            self.left += 1
        else:
            self._tiny.assert_greedy(prompt, output)
            self.finished += 1


@pytest.fixture(scope="module")
def server(cli_for, tmp_path_factory):
    flags = ["-m", "tiny:target", "--threads", 1, "--max-sessions", 2 * CLIENTS]
    started = Server(cli_for(tmp_path_factory.mktemp("server")), flags)
    yield started
    started.kill()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("optimistic", [False, True])
@pytest.mark.parametrize("length", LENGTHS, ids=str)
def test_no_way_to_draft_changes_a_greedy_output(tiny, server, length, optimistic, place):
    relay = Cuttable(server.address) if place == "cut" else None
    where = {"embedded": {}, "server": {"server": server.address}}.get(place) or {}
    if relay:
        where = {"server": relay.address, "reconnects": 8}
    backend = tiny.backend(**length, optimistic=optimistic, **where)
    rng = random.Random(repr((length, optimistic)))
    cut_at = set(rng.sample(range(200), 20)) if relay else set()
    for number, prompt in enumerate(tiny.prompts):
        output = []
        steps = backend.generate([tiny.request(prompt)])
        for index, step in enumerate(steps):
            output += step.token_ids
            if number in cut_at and index == 1:
                relay.cut()
        tiny.assert_greedy(prompt, output)
    assert relay is None or relay.cuts == 20
    backend.close()
    if relay:
        relay.close()


def test_two_minutes_of_32_clients_leak_nothing(tiny, server):
    """Clients end in the middle at random; what they finish is right, and the server forgets what they leave."""
    process = psutil.Process(server.process.pid)
    for prompt in tiny.prompts[:40]:
        tiny.alone(prompt)
    deadline = time.monotonic() + SOAK_S
    clients = [Client(tiny, server.address, number, deadline) for number in range(CLIENTS)]
    memory: list[tuple[float, int]] = []
    while time.monotonic() < deadline:
        memory.append((SOAK_S - (deadline - time.monotonic()), process.memory_info().rss))
        clients[0].thread.join(timeout=1)
    for client in clients:
        client.thread.join()
    assert [line for client in clients for line in client.wrong] == []
    assert sum(client.finished for client in clients) > 100
    assert sum(client.left for client in clients) > 50
    after_a_minute = [rss for at, rss in memory if at >= SOAK_S / 2]
    assert max(after_a_minute) <= 1.05 * after_a_minute[0]

    backend = tiny.backend(server=server.address)
    assert backend._verifier.info.open_sessions == 0
    backend.close()
