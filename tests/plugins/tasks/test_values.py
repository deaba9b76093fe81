"""Values on their way out of a process that is not trusted: they arrive as they are, or harmless, or not at all."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decodebench.plugins.tasks.sandbox.inside.values import Decoder, Encoder, dump, load

NUMBERS = st.integers() | st.floats(allow_nan=False) | st.complex_numbers(allow_nan=False)
ATOMS = st.none() | st.booleans() | st.text() | st.binary() | NUMBERS
HASHABLE = st.recursive(ATOMS, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=6)
VALUES = st.recursive(
    HASHABLE,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(HASHABLE, inner, max_size=4)
        | st.sets(HASHABLE, max_size=4)
        | st.tuples(inner, inner)
        | st.lists(inner, max_size=3).map(deque)
        | st.dictionaries(HASHABLE, st.integers(), max_size=3).map(Counter)
        | st.dictionaries(HASHABLE, inner, max_size=3).map(OrderedDict)
        | st.dictionaries(HASHABLE, inner, max_size=3).map(lambda items: defaultdict(list, items))
    ),
    max_leaves=20,
)


def no_object(*what):
    raise ValueError(what)


def sent(value, known=None):
    """A value as the other end has it."""
    encoder = Encoder(no_object)
    root = encoder.encode(value)
    root, table = load(dump([root, encoder.table()]))
    return Decoder(no_object, table, known).decode(root)


def kinds(value):
    """The classes of a value and of all that it holds, with the values of those that hold nothing."""
    name = type(value).__name__
    if isinstance(value, dict):
        return name, [(kinds(key), kinds(one)) for key, one in value.items()]
    if isinstance(value, list | tuple | deque):
        return name, [kinds(one) for one in value]
    if isinstance(value, set | frozenset):  # in any order
        return name, sorted(map(repr, map(kinds, value)))
    return name, repr(value)


@settings(deadline=None, max_examples=50)
@given(VALUES)
def test_a_value_arrives_as_it_is(value):
    assert sent(value) == value and kinds(sent(value)) == kinds(value)


def test_one_object_in_two_places_arrives_as_one_and_a_knot_as_a_knot():
    inner, knot = [1], {}
    knot["self"] = (knot, inner, inner)
    back = sent(knot)
    assert back["self"][0] is back and back["self"][1] is back["self"][2] == [1]


def test_containers_are_filled_again_in_place_and_those_alone_that_changed():
    ours = [[3, 1], {"a": 1}, {1}, bytearray(b"x"), deque([1])]
    asked = Encoder(no_object)
    nodes, table = [asked.encode(one) for one in ours], asked.table()
    other = Decoder(no_object, load(dump(table)))
    theirs = [other.decode(node) for node in nodes]
    theirs[0].sort()
    theirs[1]["b"] = theirs[0]
    theirs[4].append(2)
    told = Encoder(no_object, other.containers)
    root, changes = told.encode(theirs[0]), told.changes(table)
    assert [change is None for change in changes] == [False, False, True, True, False]
    back = Decoder(no_object, load(dump(changes)), asked.containers).decode(root)
    assert back is ours[0] == [1, 3] and ours[1] == {"a": 1, "b": [1, 3]} and ours[1]["b"] is ours[0]
    assert ours[2:] == [{1}, bytearray(b"x"), deque([1, 2])]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.sampled_from(
        "at int float tuple frozenset new type error lent yours list dict set bytearray deque defaultdict Counter exec "
        "builtins.bytes builtins.range builtins.dict_keys decimal.Decimal datetime.datetime os.system ff 1".split()
    ),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
HARMLESS = set(
    "NoneType bool int float str tuple frozenset list dict set bytearray deque Counter OrderedDict defaultdict bytes "
    "range dict_keys Decimal datetime type".split()
)


@settings(deadline=None, max_examples=200)
@given(JSON, st.lists(JSON, max_size=3))
def test_nonsense_becomes_a_value_of_a_harmless_class_or_an_error(root, table):
    try:
        found = Decoder(no_object, table, [[1]]).decode(root)
    except Exception:  # noqa: BLE001 - of any kind
        return
    held = list(found) if isinstance(found, tuple | list) else []
    assert {type(one).__name__ for one in (found, *held)} <= HARMLESS, found


@pytest.mark.parametrize("text", ["", "[", "[1] 2", "nul", "{'a': 1}", "[" * 10**5, "1e", '"\\x"'])
def test_what_is_no_json_is_an_error(text):
    with pytest.raises(Exception):  # noqa: B017 - of any kind
        load(text)
