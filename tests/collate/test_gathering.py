"""Folders put together: a round that two of them have measured is refused, one that a folder holds twice is not."""

from __future__ import annotations

import pytest

from decodebench.core.api.gathering import gather

from ..refusals import refused


@pytest.fixture
def folders(tmp_path, make_logs):
    """Write logs by folder and round, each with an id of its own, and return the folders."""

    def made(**rounds):
        for name, indexes in rounds.items():
            for log, index in indexes.items():
                make_logs(tmp_path / name).write("a", index, name=f"{log}.jsonl", run_id=f"{log}", block=log)
        return [tmp_path / name for name in rounds]

    return made


def test_a_round_of_the_folder_itself_is_not_measured_by_another_one(folders):
    target, source = folders(target={"one": 0}, source={"other": 0, "next": 1})
    with refused("logs-conflict", "round 1", "one.jsonl", "other.jsonl"):
        gather(target, [source])
    assert [file.name for file in (target / "raw").rglob("*.jsonl")] == ["one.jsonl"]


def test_a_round_that_one_folder_measured_again_is_taken_with_both_logs(folders):
    """A baseline runs again beside cells that were added later."""
    target, source = folders(target={"one": 0}, source={"one": 0, "again": 0, "next": 1})
    (target / "raw" / "a" / "one.jsonl").write_bytes((source / "raw" / "a" / "one.jsonl").read_bytes())
    assert gather(target, [source]).copied == ["raw/a/again.jsonl", "raw/a/next.jsonl"]
    assert gather(target, [source]).copied == []


def test_a_torn_log_is_left_where_it_is(folders, make_logs):
    target, source = folders(target={}, source={"one": 0})
    torn = make_logs(source).write("a", 1, name="torn.jsonl", run_id="torn", end=False)
    found = gather(target, [source])
    assert (found.copied, found.unfinished) == (["raw/a/one.jsonl"], [torn])
