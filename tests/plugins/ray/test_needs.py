"""Which host of a cluster an experiment gets, and what is missing where there is none; Ray itself is not needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from decodebench.core.contract.launcher import Need
from decodebench.plugins.ray.needs import best_host, missing, needed, on_host, places_of


def node(address, *names, alive=True):
    return {
        "NodeID": f"{address} {names}",
        "NodeManagerAddress": address,
        "Alive": alive,
        "Resources": {f"node:{address}": 1, **{f"decodebench:{name}": 1 for name in names}},
    }


NODES = [
    node("10.0.0.1", "cpu", "a"),
    node("10.0.0.2", "cpu", "a", "cuda"),
    node("10.0.0.2", "cpu", "b"),
    node("10.0.0.3", "cpu", "a", "b", "cuda", alive=False),
]


@pytest.mark.parametrize(
    ("needs", "host"),
    [
        ([Need("cpu", "a")], "10.0.0.1"),
        ([Need("cpu", "a"), Need("cpu", "b")], "10.0.0.2"),
        ([Need("cuda:0", "a"), Need("cuda", "b")], "10.0.0.2"),
        ([Need("cuda", "b")], None),
        ([Need("cuda:1", "a")], None),
    ],
)
def test_the_host_is_the_first_of_those_that_can_run_most_and_one_node_must_have_it_all(needs, host):
    assert best_host(needs, NODES) == host


def test_what_is_missing_is_what_the_nearest_node_of_the_host_lacks():
    assert missing(on_host(needed(Need("cuda", "c")), "10.0.0.2"), NODES) == ["decodebench:c"]
    assert missing(on_host(needed(Need("cpu", "a")), "10.0.0.3"), NODES) == ["node:10.0.0.3"]


def test_the_places_of_a_node_are_the_devices_of_it_that_are_needed():
    needs = [Need("cpu", "a"), Need("cuda:0", "b"), Need("cuda:1", "b")]
    both = node("10.0.0.1", "cpu", "cuda", "a", "b", "c")
    found = places_of(needs, both)
    assert [(one.device, one.backends) for one in found] == [("cpu", {"a", "b"}), ("cuda", {"a", "b"})]
    assert [[one.takes(need) for need in needs] for one in found] == [[True, False, False], [False, True, False]]
    assert places_of(needs, both, "10.0.0.9") == [] == places_of(needs, NODES[-1])


@pytest.mark.parametrize("line", ["adress = 'x:1'", "address = 'nowhere'", "host = 3"])
def test_a_setting_that_cannot_be_is_named_with_its_table(cli, tmp_path, line):
    pytest.importorskip("ray", reason="ray is not installed: pip install 'decodebench[ray]'")
    Path(cli.environment["DECODEBENCH_CONFIG"]).write_text(f"[ray]\n{line}\n")
    run = ["run", "-b", "llama-cpp", "-m", "tiny:draft", "--task", "tiny-gsm", "--launcher", "ray"]
    result = cli(*run, "-o", tmp_path / "out")
    assert result.code == 2 and "[ray]" in result.err and line.partition(" ")[0] in result.err
