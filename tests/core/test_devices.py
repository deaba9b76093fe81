"""Devices by their number: one that the engine does not see is refused once, before the rounds."""

from __future__ import annotations

import pytest

from decodebench.core.measure.rounds.preparation import is_seen

from ..at_night import at_night

PLUGIN = """
from decodebench import Quantisation, hookimpl
from faulty_backend import Faulty

decodebench_api = ">=3,<4"


class Numbered(Faulty):
    name, summary = "numbered", "sees one GPU"

    @classmethod
    def devices(cls):
        return ("cuda:0", "cpu")


class Missing(Numbered):
    name = "missing-engine"

    @classmethod
    def probe(cls):
        from decodebench import Availability

        return Availability(False, reason="no such engine", fix="pip install it")


@hookimpl
def decodebench_backends():
    return [Numbered, Missing]
"""


@pytest.fixture
def run(cli, tmp_path):
    (tmp_path / "numbered.py").write_text(PLUGIN)
    return lambda *flags: cli(
        "--plugin", tmp_path / "numbered.py", "run", "-m", "tiny:target", "--prompt-tokens", 8, "--samples", 1,
        "--warmup", 0, "--rounds", 2, "--max-new-tokens", 2, "-o", tmp_path / "o", *flags,
    )  # fmt: skip


@pytest.mark.parametrize("device", at_night(["cuda:7", "cuda:", "cuda:x", "cuda:0:1", "metal"], but=["cuda:7"]))
def test_a_device_that_is_not_seen_is_refused_once(run, device):
    ended = run("-b", "numbered", "-d", "cpu", "-d", device)
    assert ended.code == 1, ended.err
    assert ended.err.count(f"device {device!r} is not there; numbered sees cuda:0, cpu") == 1


@pytest.mark.parametrize(
    ("asked", "there", "expected"),
    [
        ("cuda:0", ("cuda:0", "cpu"), True),
        ("cuda", ("cuda:0", "cpu"), True),
        ("cuda:1", ("cuda", "cpu"), True),
        ("cuda:1", ("cuda:0",), False),
        ("cuda:", ("cuda", "cuda:0"), False),
        ("", ("cpu",), False),
    ],
)
def test_which_devices_are_one(asked, there, expected):
    assert is_seen(asked, there) == expected


def test_a_dry_run_without_a_probe_says_what_it_did_not_check(run):
    ended = run("-b", "numbered", "-b", "missing-engine", "-d", "cuda:7", "--dry-run", "--no-probe", "--json")
    assert ended.code == 0 and ended.json["cells"]
    assert "missing-engine: no such engine; pip install it" in ended.err
    assert "numbered: whether it sees the device 'cuda:7' is not checked" in ended.err
