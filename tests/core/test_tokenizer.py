"""Pieces of text per step: joined they are the whole text, and no character is torn."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from decodebench.core.tokenizer import ids_hash, pieces


def decode_bytes(ids: Sequence[int]) -> str:
    return bytes(ids).decode("utf-8", errors="replace")


@given(st.text(max_size=60), st.lists(st.integers(1, 5), min_size=1))
def test_pieces_join_to_the_whole_text(text, sizes):
    content = list(text.encode())
    steps, at, turn = [], 0, 0
    while at < len(content):
        size = sizes[turn % len(sizes)]
        steps.append(content[at : at + size])
        at, turn = at + size, turn + 1
    found = pieces(decode_bytes, steps)
    assert len(found) == len(steps)
    assert "".join(found) == text


def test_a_character_belongs_to_the_step_that_completes_it():
    first, second = list("é".encode())
    assert pieces(decode_bytes, [[ord("a")], [first], [second], [ord("b")]]) == ["a", "", "é", "b"]


def test_the_hash_of_ids_tells_order_and_borders_apart():
    assert len({ids_hash(ids) for ids in [(1, 2), (2, 1), (12,), (1, 2, 3)]}) == 4
