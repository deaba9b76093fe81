"""Tests run outside the process of the answer and judge it as they would inside: values, arguments, objects, errors."""

from __future__ import annotations

import pytest

from decodebench import UsageError
from decodebench.core.host.registry import Registry
from decodebench.plugins.tasks import sandbox
from decodebench.plugins.tasks.sandbox import Checks, Limits, Sandbox

LIMITS = Limits(wall_s=4.0)
OWN_WORD = "passed, on the word of its own objects"
ONE_PROCESS = "passed, in one process with its tests"


@pytest.fixture(scope="module")
def judge():
    try:
        sandbox.check()
    except UsageError as error:
        pytest.skip(str(error))

    def judged(answer, tests, functions=(), classes=()):
        return Sandbox(LIMITS).run(answer, Checks(tests, functions, classes)).reason

    return judged


VALUES = """
import collections, datetime, decimal, fractions
def same(x): return x
def kind(x): return type(x).__name__
def twins():
    one = []
    return one, [one, one]
def knot():
    one = [1]
    one.append(one)
    return one
class Int(int): pass
class Text(str): pass
class List(list): pass
def derived(): return Int(3), Text("a"), List([1]), collections.namedtuple("P", "x y")(1, 2)
"""
VALUE_TESTS = """
import collections, datetime, decimal, fractions, math
examples = [
    None, True, False, 0, -1, 2**63 - 1, -2**63, 2**64, 10**4000, 0.1, -0.0, 1e300, math.inf, 1j, "", "\\ud800 \\0 é",
    b"\\xff", (), (1, (2, [3])), [], [[1], {"a": {1: None}}], {1, 2}, frozenset({(1, 2)}), {(1,): [2]}, range(3), ...,
    slice(1, None),
    bytearray(b"x"), collections.Counter("aab"), collections.OrderedDict(b=1, a=2), collections.deque([1, 2], maxlen=3),
    collections.defaultdict(list, a=[1]), {"b": 1, "a": 2}.keys(), {"b": 1}.items(), fractions.Fraction(1, 3),
    decimal.Decimal("1.10"), datetime.date(2026, 1, 2), datetime.datetime(2026, 1, 2, 3, 4, 5, 6), datetime.time(7, 8),
    datetime.timedelta(1, 2, 3), int, ValueError,
]
for value in examples:
    back = same(value)
    assert back == value and type(back) is type(value) and repr(back) == repr(value), value
    assert type(value) is type or kind(value) == type(value).__name__, value
assert math.isnan(same(math.nan)) and math.copysign(1, same(-0.0)) == -1
assert list(same({"b": 1, "a": 2}.values())) == [1, 2] and list(same({"b": 1, "a": 2})) == ["b", "a"]
assert same(collections.deque([1, 2], maxlen=3)).maxlen == 3 and same(collections.defaultdict(list))["x"] == []
first, (second, third) = twins()
assert first is second is third
assert knot()[1][1][0] == 1
whole, text, items, pair = derived()
assert [type(value) for value in derived()] == [int, str, list, tuple]
assert (whole, text, items, pair) == (3, "a", [1], (1, 2))
deep = []
for _ in range(3000): deep = [deep]
assert len(same(deep)) == 1
assert same(list(range(10**5)))[-1] == 99999
"""

PASSES = {
    "every kind of value arrives as it is": (VALUES, VALUE_TESTS),
    "a check function": ("def sq(x): return x * x", "def check(candidate):\n    assert candidate(3) == 9\ncheck(sq)"),
    "arguments by name": (
        "def f(a, *b, c=0, **d): return [a, b, c, d]", "assert f(1, 2, c=3, e=4) == [1, (2,), 3, {'e': 4}]"
    ),
    "arguments with any name": (
        "def f(**names): return names\ndef g(h): return h(self=1, function=2)",
        "names = {'self': 1, 'operation': 2, 'function': 3, 'judge': 4, 'arguments': 5}\nassert f(**names) == names\n"
        "assert g(lambda **names: names) == {'self': 1, 'function': 2}",
    ),
    "arguments that are changed in place": (
        "def turn(x, y, z, w):\n    x.sort()\n    y['b'] = x\n    z.discard(1)\n    w.clear()\n    return x",
        "x, y, z, w = [3, 1], {}, {1, 2}, bytearray(b'x')\nassert turn(x, y, z, w) is x and x == [1, 3]\n"
        "assert y['b'] is x and z == {2} and w == b''",
    ),
    "a truth value that is no bool": (
        "import re\ndef f(x): return re.match('a', x)", "assert f('ab')\nassert not f('b')"
    ),
    "generators and iterators": (
        "def f(n):\n    for i in range(n): yield i\ndef g(x): return map(str, x)\ndef h():\n    while True: yield 1",
        "assert list(f(3)) == [0, 1, 2] and sorted(g([2, 1])) == ['1', '2'] and 1 in h() and sum(f(4)) == 6\n"
        "assert next(f(1)) == 0 and dict(zip('ab', f(2))) == {'a': 0, 'b': 1} and [*f(2)] == [0, 1]",
    ),
    "exceptions": (
        "def f(x):\n    if x < 0: raise ValueError('negative', x)\n    return {}['a'] if x else open('/nowhere')",
        "for x, kind in ((-1, ValueError), (1, KeyError), (0, FileNotFoundError)):\n    try: f(x)\n"
        "    except kind as error: assert x >= 0 or error.args == ('negative', -1)\n    else: assert False",
    ),
    "exceptions of its own": (
        "import decimal, json\nclass Own(ValueError): pass\ndef f(): raise Own('x')\n"
        "def g(): raise decimal.InvalidOperation\ndef h(): return json.loads('{')",
        "import decimal\ntry: f()\nexcept Own as error: assert str(error) == 'x'\nelse: assert False\n"
        "try: f()\nexcept ValueError: pass\ntry: g()\nexcept decimal.InvalidOperation: pass\n"
        "import json\ntry: h()\nexcept json.JSONDecodeError as error: assert 'line 1' in str(error)\nelse: 1 / 0",
    ),
    "functions of the tests": (
        "def apply(f, x): return [f(v) for v in x]\ndef count(f):\n    for _ in range(3): f(1)\n"
        "def safe(f):\n    try: f()\n    except ZeroDivisionError: return 'caught'",
        "seen = []\nassert apply(lambda v: v + 1, [1, 2]) == [2, 3] and apply(str, [1]) == ['1']\n"
        "assert apply(len, ['ab']) == [2]\n"
        "count(seen.append)\nassert seen == [1, 1, 1] and safe(lambda: 1 / 0) == 'caught'\n"
        "def again(n): return n if n == 0 else apply(again, [n - 1])[0]\nassert again(20) == 0",
    ),
    "iterators of the tests": (
        "def f(x): return sum(x)", "assert f(iter([1, 2])) == 3 and f(v for v in range(4)) == 6"
    ),
    "coroutines": (
        "import asyncio\nasync def f(x):\n    await asyncio.sleep(0)\n    return x + 1",
        "import asyncio\nasync def main(): return await f(1) + sum(await asyncio.gather(f(1), f(2)))\n"
        "assert asyncio.run(f(1)) == 2 and asyncio.run(main()) == 7",
    ),
    "globals of the answer": ("count = 0\ndef f():\n    global count\n    count += 1", "f()\nf()\nassert count == 2"),
    "a module that the answer has imported": ("import math\ndef f(): return 0.5", "assert math.isclose(f(), 0.5)"),
    "objects of the answer as arguments": (
        "class Node:\n    def __init__(self, v): self.v, self.left = v, None\n"
        "def depth(n): return 1 + depth(n.left) if n else 0\ndef same(n): return n",
        "root = Node(1)\nroot.left = Node(2)\nassert depth(root) == 2 and root.left.v == 2\n"
        "assert same([root])[0] == root\n"
        "assert same(root) is not None and same(root) != None and depth(None) == 0",
    ),
    "objects that name values": (
        "class Own:\n    def __len__(self): return 3\n    def __getitem__(self, i): return [4, 5, 6][i]\n"
        "    def __float__(self): return 0.5\n    def __str__(self): return 'own'\n    size = 7\ndef f(): return Own()",
        "import math\nassert len(f()) == 3 and f()[1] == 5 and list(f()) == [4, 5, 6] and math.isclose(f(), 0.5)\n"
        "assert str(f()) == f'{f()}' == 'own' and f().size == 7 and list(reversed(f())) == [6, 5, 4]",
    ),
    "the main block of a script": ("if __name__ == '__main__':\n    def f(): return 1", "assert f() == 1"),
    "dataclasses and enumerations": (
        "import dataclasses, enum\n@dataclasses.dataclass\nclass P:\n    x: int = 1\n"
        "class E(enum.IntEnum):\n    A = 4\n"
        "def f(): return dataclasses.asdict(P()), E.A",
        "assert f() == ({'x': 1}, 4)",
    ),
    "thousands of calls": ("def f(x): return x + 1", "for i in range(3000): assert f(i) == i + 1"),
}  # fmt: skip

FAILS = {
    "a wrong value": ("def f(): return 1", "assert f() == 2, 'not two'", "AssertionError: not two"),
    "a value of another class": ("def f(): return '1'", "assert f() == 1", "AssertionError"),
    "no such function": ("def g(): return 1", "assert f() == 1", "NameError: name 'f' is not defined"),
    "a module that the answer lacks": ("def f(): return 0.5", "assert math.isclose(f(), 0.5)", "NameError"),
    "an exception in a call": ("def f(): return [][1]", "assert f() == 1", "IndexError: list index out of range"),
    "an exception with its own class": ("class Own(Exception): pass\ndef f(): raise Own('x')", "f()", "Own: x"),
    "an endless call": ("def f():\n    while True: pass", "f()", "timeout: ran longer than 4 s"),
    "a call that ends the process": ("import os\ndef f(): os._exit(3)", "f()", "ended early with code 3"),
    "a call that crashes": ("import ctypes\ndef f(): ctypes.string_at(0)", "f()", "killed: SIGSEGV"),
    "an ending that the tests catch": (
        "import os\ndef f(): os._exit(0)", "try: f()\nexcept: pass", "ended early with code 0"
    ),
    "a result of a hundred megabytes": ("def f(): return 'x' * 10**8", "assert f()", "MemoryError: more than 32 MiB"),
    "an argument of a hundred megabytes": ("def f(x): return 1", "assert f('x' * 10**8)", "MemoryError: more than 32"),
    "an object where a value is needed": (
        "def f(): return object()", "assert f() == 1", "TypeError: the answer gave an object"
    ),
    "a syntax error": ("def f(:", "f()", "SyntaxError"),
    "a class that was not asked for": ("def f(): return lambda: 1", "assert f() < 1", "TypeError: the answer gave"),
}  # fmt: skip

POINT = (
    "class Point:\n    def __init__(self, x): self.x = x\n"
    "    def __add__(self, other): return Point(self.x + other.x)\n"
    "    def __eq__(self, other): return self.x == other.x\n    def above(self, x): return self.x > x\n"
    "    def open(self):\n        import contextlib\n        return contextlib.nullcontext(self.x)\n"
    "class Stack(list):\n    def push(self, x): self.append(x)\ndef Pair(a, b): return a, b\n"
    "def make(x): return Point(x)\ndef adder(n): return lambda x: x + n\n"
)
MARKED = {
    "operators of its own class": ("assert Point(1) + Point(2) == Point(3)", ONE_PROCESS),
    "a result of its own class": ("assert make(3) == Point(3)", ONE_PROCESS),
    "a copy": ("import copy\nassert copy.deepcopy(Point(2)).x == 2", ONE_PROCESS),
    "an object of the tests": ("class A:\n    x = 1\nassert make(A()).x.x == 1", ONE_PROCESS),
    "a context": ("with make(1).open() as x: assert x == 1", ONE_PROCESS),
    "a method": ("assert make(2).above(1)", OWN_WORD),
    "a function that it returns": ("assert adder(2)(3) == 5", OWN_WORD),
    "its class": ("assert isinstance(make(1), Point)", OWN_WORD),
    "a class of its own that is a list": ("s = Stack([1])\ns.push(2)\nassert s.pop() == 2 and len(s) == 1", OWN_WORD),
    "a function in place of a class": ("assert Pair(1, 2) == (1, 2)", "passed"),
    "attributes alone": ("assert Point(2).x == 2", "passed"),
}


@pytest.mark.parametrize("name", PASSES)
def test_an_honest_answer_passes(judge, name):
    assert judge(*PASSES[name]) == "passed"


@pytest.mark.parametrize("name", FAILS)
def test_a_wrong_answer_fails_with_its_reason(judge, name):
    answer, tests, reasons = FAILS[name]
    found = judge(answer, tests)
    assert any(reason in found for reason in reasons.split("|")) and not found.startswith("passed"), found


@pytest.mark.parametrize("name", MARKED)
def test_what_tests_need_beyond_values_is_marked(judge, name):
    tests, mark = MARKED[name]
    assert judge(POINT, tests, ("make", "adder"), ("Point", "Stack", "Pair")) == mark
    assert (
        judge(POINT, f"{tests}\nassert make(1).x == 2", ("make", "adder"), ("Point", "Stack", "Pair"))
        == "AssertionError"
    )


def test_a_name_that_python_has_too_is_the_answers_where_the_tests_say_so(judge):
    answer = "def sum(a, b): return 6\ndef sorted(x): return x"
    assert judge(answer, "assert sum(10, 15) == 6", ("sum",)) == "passed"
    assert judge(answer, "assert sum([1, 2]) == 3 and sorted([2, 1]) == [1, 2]") == "passed"


def test_helpers_of_the_tests_are_the_tests_own(judge):
    answer = "def shift(s): return s\ndef back(s): return s"
    tests = "def shift(s): return s[1:] + s[:1]\nassert back(shift('abc')) == 'abc'"
    assert judge(answer, tests) == "AssertionError"


@pytest.mark.parametrize(("name", "column"), [("humaneval", "canonical_solution"), ("mbpp", "code")])
def test_the_reference_solutions_of_a_task_pass(judge, data_by_hand, name, column):
    task = Registry(only=["tasks"]).task(name)
    for at, row in enumerate(task.rows):
        (sample,) = (one for one in task.samples(99, 1) if one.id == f"{name}/{task.identity(at)}")
        assert task.score(sample, row[column].replace("\r", "")).extracted == "passed", sample.id
