"""Checkpoints, the tiny pair, and servers in processes of their own."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

_NEEDED = ("torch", "transformers", "grpc")
collect_ignore_glob = ["test_*.py"] if any(find_spec(name) is None for name in _NEEDED) else []


@pytest.fixture(scope="session")
def tiny():
    from .tiny_pair import TinyPair

    return TinyPair()


@pytest.fixture(scope="module")
def serve(cli_for, tmp_path_factory):
    """Start `decodebench serve-target` with given flags; ended after the module."""
    from .serving import Server

    started: list[Server] = []

    def start(*flags: object) -> Server:
        started.append(Server(cli_for(tmp_path_factory.mktemp("server")), flags))
        return started[-1]

    yield start
    for server in started:
        server.kill()


@pytest.fixture(scope="module")
def server(serve):
    """A server of tiny:target that the tests of a module share."""
    return serve("-m", "tiny:target", "--threads", 1)
