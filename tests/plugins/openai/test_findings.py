"""What is doubted where a client measured a server."""

from __future__ import annotations

import pytest

from decodebench.plugins.openai.findings import FINDINGS


def sample(index, **changes):
    engine = {"server_prompt_tokens": 10, "server_output_tokens": 4, "client_cpu_s": 0.01, "client_wall_s": 1.0}
    return {
        "run_id": "r", "index": index, "sample_id": f"s{index}", "status": "ok", "prompt_tokens": 10,
        "output_ids": [1, 2, 3, 4], "engine": {**engine, **changes},
    }  # fmt: skip


def cell(*samples, **changes):
    about = {"label": "a server", "residence": "remote", "settings": {"token_ids": "server"}, "options": {}}
    sessions = [{"url": "http://127.0.0.1:8000"}]
    return {**about, "environment": {"cores_used": 2}, "sessions": sessions, "measured": list(samples), **changes}


def found(*cells):
    return {check.name: doubts for check in FINDINGS if (doubts := list(check.check(cells)))}


def test_nothing_is_doubted_where_the_server_agrees_and_the_client_is_idle():
    assert not found(cell(sample(0), sample(1)))
    assert not found(cell(sample(0, server_cached_tokens=9), residence="in-process"))


@pytest.mark.parametrize(
    ("name", "changes", "words", "severity"),
    [
        ("prefix-cache-hits", {"server_cached_tokens": 4}, "4 of 20 prompt tokens", "warning"),
        ("other-prompts", {"server_prompt_tokens": 11}, "11 tokens instead of 10", "warning"),
        ("busy-client", {"client_cpu_s": 1.3}, "0.66 of a core", "warning"),
        ("busy-client", {"client_cpu_s": 0.4}, "share this machine's cores", "warning"),
        ("failed-attempts", {"failed_attempts": 2}, "1 of 2 requests", "warning"),
    ],
)
def test_one_sample_that_differs_is_named(name, changes, words, severity):
    doubts = found(cell(sample(0), sample(1, **changes)))
    assert list(doubts) == [name] and words in doubts[name][0].text and doubts[name][0].severity == severity


def test_a_server_that_leaves_a_core_to_the_client_does_not_share():
    assert not found(cell(sample(0, client_cpu_s=0.4), settings={"token_ids": "server", "n_threads": "1"}))


def test_retokenised_ids_are_a_note_and_other_counts_a_warning():
    text = {"token_ids": "re-tokenised"}
    (note,) = found(cell(sample(0), settings=text))["retokenised-ids"]
    assert note.severity == "note" and "as many as the server counts" in note.text
    (note,) = found(cell({**sample(0), "engine": {}}, settings=text))["retokenised-ids"]
    assert note.severity == "note" and "counts none" in note.text
    (warning,) = found(cell(sample(0), sample(1, server_output_tokens=9), settings=text))["retokenised-ids"]
    assert warning.severity == "warning" and [place.sample for place in warning.rows] == [1]
