"""Ways in which a file may be damaged: cut, changed, a line lost or doubled."""

from __future__ import annotations

from hypothesis import strategies as st

PLACE = st.floats(0, 1, exclude_max=True)


def mutations(pieces):
    """One way, where, and what is put there."""
    return st.one_of(
        st.tuples(st.just("cut"), PLACE, st.just(b"")),
        st.tuples(st.sampled_from(["insert", "replace", "replace a number"]), PLACE, pieces),
        st.tuples(st.sampled_from(["repeat", "remove"]), PLACE, st.just(b"")),
    )


def mutated(data, kind, place, piece):
    at = int(place * len(data))
    if kind == "cut":
        return data[:at]
    if kind in ("insert", "replace"):
        return data[:at] + piece + data[at + len(piece) * (kind == "replace") :]
    if kind == "replace a number":
        begin = next((i for i in range(at, len(data)) if data[i : i + 1].isdigit()), at)
        end = next((i for i in range(begin, len(data)) if data[i : i + 1] not in b"0123456789."), len(data))
        return data[:begin] + piece + data[end:]
    lines = data.splitlines(keepends=True)
    at = int(place * len(lines))
    return b"".join(lines[:at] + (lines[at : at + 1] * 2 if kind == "repeat" else []) + lines[at + 1 :])
