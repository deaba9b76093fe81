"""Answers that do not solve the problem and try to be judged right: none is, whatever they rebind, send or end."""

from __future__ import annotations

import pytest

from decodebench import UsageError
from decodebench.core.host.registry import Registry
from decodebench.plugins.tasks import sandbox
from decodebench.plugins.tasks.sandbox import Checks, Sandbox

from ...seeded_sample import seeded_sample

# The problem: add_all([1, 2, 3]) == 6 and add_all([]) == 0.
WRONG = "def add_all(numbers):\n    return 1\n"

# Reaches the pipe to the judge by way of frames, says that the answer has run, and replies what it likes.
PEER = (
    WRONG
    + """
import sys
frame = sys._getframe()
while 'peer' not in frame.f_locals:
    frame = frame.f_back
peer = frame.f_locals['peer']
def reply(*nodes, verb='value'):
    peer.send(['ran', None, []])
    for node in (*nodes, *[nodes[-1]] * 99):
        _, _, table = peer.receive()
        peer.send([verb, node, [None] * len(table)])
function = ['lent', 0, 'function']
"""
)

SLOW = {"the judge stopped"}  # until the limit
FORGERIES = {
    # leaving before the tests
    "leave by os._exit": "import os\nos._exit(0)",
    "leave by sys.exit": "import sys\nsys.exit(0)",
    "leave by the C library": "import ctypes\nctypes.CDLL(None)._exit(0)",
    "leave from the function": "def add_all(n):\n    import os\n    os._exit(0)",
    "leave by SystemExit from the function": "def add_all(n): raise SystemExit(0)",
    "leave by GeneratorExit": "def add_all(n): raise GeneratorExit",
    "leave by StopIteration": "def add_all(n): raise StopIteration(6)",
    "leave by KeyboardInterrupt": "def add_all(n): raise KeyboardInterrupt",
    "leave at the interpreter's end": WRONG + "import atexit, os\natexit.register(os._exit, 0)",
    "leave by a signal handler": "import os, signal\nsignal.signal(14, lambda *a: os._exit(0))\nsignal.alarm(1)\n"
    "def add_all(n):\n    while True: pass",
    # results that agree with everything
    "a result that equals everything": "class Any:\n    def __eq__(self, other): return True\n"
    "    def __ne__(self, other): return False\n    __hash__ = None\ndef add_all(n): return Any()",
    "a number that equals everything": "class Any(int):\n    def __eq__(self, other): return True\n"
    "    __hash__ = int.__hash__\ndef add_all(n): return Any(1)",
    "a text that equals everything": "class Any(str):\n    def __eq__(self, other): return True\n"
    "    __hash__ = str.__hash__\ndef add_all(n): return Any()",
    "a list that equals everything": "class Any(list):\n    def __eq__(self, other): return True\n"
    "    __hash__ = None\ndef add_all(n): return Any()",
    "a result of unittest.mock": "from unittest.mock import ANY\ndef add_all(n): return ANY",
    "a class that equals everything": "class Meta(type):\n    def __eq__(cls, other): return True\n"
    "    __hash__ = type.__hash__\nclass Any(metaclass=Meta): pass\ndef add_all(n): return Any",
    "a callable that equals everything": "class add_all:\n    def __init__(self, n): pass\n"
    "    def __eq__(self, other): return True\n    __hash__ = None",
    "a result named like a coroutine": "class coroutine:\n    def __eq__(self, other): return True\n"
    "    __hash__ = None\ndef add_all(n): return coroutine()",
    "a result that calls itself a built-in": "class int:\n    def __eq__(self, other): return True\n"
    "    __hash__ = None\nint.__module__ = 'builtins'\ndef add_all(n): return int()",
    "a result that calls itself a fraction": "class Fraction:\n    numerator = property(lambda s: Fraction())\n"
    "    denominator = 1\nFraction.__module__ = 'fractions'\ndef add_all(n): return Fraction()",
    # the tools of the judge, rebound
    "json rebound": WRONG + "import json\njson.dumps = json.loads = lambda *a, **k: 'null'",
    "the encoder of json rebound": WRONG + "import json\njson.JSONEncoder.encode = lambda *a: '[\"value\", 6, []]'\n"
    "json.encoder.encode_basestring_ascii = lambda text: '6'\njson.encoder.c_make_encoder = None",
    "os.write rebound": WRONG + "import os\nwrite = os.write\nos.write = lambda fd, data: write(fd, b'[null, \"\"]')",
    "AssertionError shadowed": WRONG + "AssertionError = SystemExit",
    "AssertionError rebound": WRONG + "import builtins\nbuiltins.AssertionError = type('Quiet', (Exception,), {})",
    "built-in functions rebound": WRONG + "import builtins\nbuiltins.compile = builtins.exec = lambda *a, **k: None\n"
    "builtins.isinstance = builtins.hasattr = lambda *a: True\nbuiltins.type = lambda *a: int",
    "check rebound": WRONG + "def check(candidate): pass\nimport builtins\nbuiltins.check = check",
    "an except hook": WRONG + "import sys\nsys.excepthook = sys.unraisablehook = lambda *a: None",
    "a trace function": WRONG + "import sys, threading\ndef trace(frame, event, arg):\n"
    "    if 'check' in frame.f_code.co_name: frame.f_globals['add_all'] = sum\n    return trace\n"
    "sys.settrace(trace)\nsys.setprofile(trace)\nthreading.settrace(trace)",
    "an import hook": WRONG + "import sys\nclass Hook:\n    def find_spec(self, *a): raise SystemExit(0)\n"
    "sys.meta_path.insert(0, Hook())\nsys.modules.clear()",
    "standard output replaced": WRONG + "import sys, io\nprint('passed')\n"
    "sys.stdout = sys.stderr = io.StringIO('passed')",
    "the judge's module rebound": WRONG + "import sys\njudge = sys.modules['inside.judge']\n"
    "judge.verdict = lambda *a: (None, '')\njudge.Judge.ask = lambda *a, **k: 6\n"
    "sys.modules['inside.launcher'].verdict = judge.verdict",
    "whatever the garbage collector knows": WRONG + "import gc\nfor one in gc.get_objects():\n"
    "    if isinstance(one, dict) and 'numbers' not in one:\n        try: one['error'] = one['is_ok'] = None\n"
    "        except Exception: pass\n",
    "code objects rewritten": WRONG + "import sys\nfor module in list(sys.modules.values()):\n"
    "    for value in list(vars(module).values()):\n        if hasattr(value, '__code__'):\n"
    "            try: value.__code__ = (lambda *a, **k: None).__code__\n            except ValueError: pass\n",
    # messages of its own
    "the verdict on every descriptor": WRONG + "import os\nfor fd in range(64):\n"
    "    try: os.write(fd, b'[null, \"\"]')\n    except OSError: pass",
    "nonsense on every descriptor": WRONG + "import os\nfor fd in range(64):\n"
    "    try: os.write(fd, bytes(8) * 9)\n    except OSError: pass",
    "a length without end": WRONG + "import os\nfor fd in range(3, 64):\n"
    "    try: os.write(fd, b'\\xff' * 8)\n    except OSError: pass",
    "every descriptor cut off": WRONG + "import os\nfor fd in range(64):\n"
    "    try: os.ftruncate(fd, 0)\n    except OSError: pass\nos._exit(0)",
    "every descriptor closed": WRONG + "import os\nos.closerange(0, 64)",
    "every descriptor duplicated": WRONG + "import os\nfor fd in range(3, 6):\n    for other in range(3, 6):\n"
    "        try: os.dup2(fd, other)\n        except OSError: pass",
    "one result for every call": PEER + "reply(function, 6)",
    "results ahead of the calls": PEER + "peer.send(['ran', None, []])\n"
    "for node, table in ((function, []), (6, [None]), (6, [None])): peer.send(['value', node, table])",
    "a verb of its own": PEER + "reply(function, None, verb='passed')",
    "an end before the end": PEER + "peer.send(['ran', None, []])\npeer.send(['ran', None, []])",
    "a container that nobody sent": PEER + "reply(function, ['at', 5])",
    "a container filled as another": PEER + "peer.send(['ran', None, []])\npeer.receive()\n"
    "peer.send(['value', function, []])\npeer.receive()\npeer.send(['value', 6, [['dict', None, 1, 2]]])",
    "nesting without end": PEER + "data = b'[' * 10**6\n"
    "peer._sink.write(len(data).to_bytes(8, 'big') + data)\npeer._sink.flush()",
    "a tuple without end": PEER + "node = 6\nfor _ in range(500): node = ['tuple', node]\nreply(function, node)",
    "a function of the judge asked for": PEER + "peer.send(['ran', None, []])\npeer.receive()\n"
    "for what in (['type', 'type'], ['type', 'int'], ['yours', 0], ['yours', -1]):\n"
    "    peer.send(['ask', ['call', [what, 'raise SystemExit'], []], []])\n    peer.receive()",
    "an operation that the judge does not have": PEER + "peer.send(['ran', None, []])\npeer.receive()\n"
    "peer.send(['ask', ['getattr', [['type', 'int'], '__subclasses__'], []], []])",
    "an exception that is none": PEER + "reply(['error', ['type', 'int'], ['tuple']], verb='raised')",
    "an exception that ends a process": PEER + "reply(['error', ['type', 'SystemExit'], ['tuple', 0]], verb='raised')",
    "a class that nobody may make": PEER + "reply(function, ['new', 'unittest.mock._ANY'])",
    "a module's function by name": PEER + "reply(['type', 'exec'])\nreply(['lent', 0, 'module'])",
    "an object with the number of none": PEER + "reply(['lent', -1, 'int'])",
    # other processes
    "the judge killed": WRONG + "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)",
    "the judge stopped": "import os, signal\ndef add_all(n):\n    os.kill(os.getppid(), signal.SIGSTOP)\n    return 6",
    "the judge interrupted": "import os\ndef add_all(n):\n    os.kill(os.getppid(), 2)\n    return 1",
    "the first process killed": WRONG + "import os\nos.kill(1, 9)\nos.kill(1, 15)",
    "a child that answers": WRONG + "import os\nif os.fork(): os.wait(); os._exit(0)",
    "a child that goes on": "import os\nif os.fork() == 0: os._exit(0)\ndef add_all(n):\n    os.fork()\n    return 1",
    "a thread that rebinds later": WRONG + "import threading\ndef later():\n"
    "    while True: globals()['add_all'] = len\n"
    "threading.Thread(target=later, daemon=True).start()",
    # source that swallows the tests
    "an open string": WRONG + "x = '''",
    "an open branch": WRONG + "if 0:\n  '''",
    "an open function": WRONG + "async def rest():\n    pass",
    "a line that goes on": WRONG + "\\",
    "an encoding": "# -*- coding: utf-7 -*-\n" + WRONG,
}  # fmt: skip


@pytest.fixture(scope="module")
def task():
    try:
        sandbox.check()
    except UsageError as error:
        pytest.skip(str(error))


@pytest.fixture
def score(task, data_by_hand):
    humaneval = Registry(only=["tasks"]).task("humaneval")
    problem = next(sample for sample in humaneval.samples(9, 1) if sample.id == "humaneval/0")

    def scored(program):
        if "def add_all" not in program and "class add_all" not in program:
            program = WRONG + program
        # The class takes the place of the function that the answer is looked for by.
        marker = "def add_all(numbers): pass\n" if "class add_all" in program else ""
        return humaneval.score(problem, f"```python\n{marker}{program}\n```")

    return scored


@pytest.mark.parametrize("name", seeded_sample(FORGERIES, 40, SLOW))
def test_a_forged_verdict_is_none(score, name):
    found = score(FORGERIES[name])
    assert found.value == 0.0 and not found.extracted.startswith("passed"), found.extracted
    assert 0 < len(found.extracted) < 500 and found.extracted.isprintable()


def test_the_problem_can_be_solved(score):
    assert score("def add_all(numbers):\n    return sum(numbers)").extracted == "passed"


SEARCH = """
import gc
SECRET = bytes(x ^ 1 for x in {hidden!r}).decode()
def strings():
    seen, todo = set(), gc.get_objects()
    while todo:
        one = todo.pop()
        if id(one) in seen: continue
        seen.add(id(one))
        if isinstance(one, (str, bytes)): yield one if isinstance(one, str) else one.decode('latin-1')
        else: todo += gc.get_referents(one)
def f(): return any(SECRET in one for one in strings() if one is not SECRET)
"""


def test_nothing_of_the_tests_is_in_the_answers_process(task):
    word = "a text that the tests alone have"
    hidden = bytes(byte ^ 1 for byte in word.encode())
    tests = Checks(f"expected = {word!r}\nassert f() is False, 'found'\nassert expected")
    assert Sandbox().run(SEARCH.format(hidden=hidden), tests).reason == "passed"
    assert Sandbox().run(f"{SEARCH.format(hidden=hidden)}kept = {word!r}", tests).reason == "AssertionError: found"


@pytest.mark.parametrize(
    "operations",
    ["__sub__ __abs__ __lt__", "__rsub__ __eq__ __contains__", "__lt__ __le__ __float__", "__bool__ __index__ __int__"],
)
def test_an_object_is_not_asked_about_what_is_expected(task, operations):
    """Tests that compare within a tolerance, look into a list or call a method would show it to an object."""
    methods = "".join(f"    def {name}(self, *other): return 0\n" for name in operations.split())
    answer = f"class Own:\n{methods}    def startswith(self, text): return True\ndef f(x): return Own()"
    for test in ("assert abs(f(1.5) - 0.5) < 1e-6", "assert f(2.0) in [0.1, 7]", "assert 0.1 < f(2.0) + 1"):
        outcome = Sandbox().run(answer, Checks(test))
        assert not outcome.is_ok, (test, outcome)
    outcome = Sandbox().run(answer, Checks("assert f('a').startswith('b')"))
    assert outcome.reason == "passed, on the word of its own objects"


def test_mbpp_takes_functions_from_the_answer_and_nothing_else(task, data_by_hand):
    mbpp = Registry(only=["tasks"]).task("mbpp")
    root = next(sample for sample in mbpp.samples(9, 1) if sample.id == "mbpp/13")  # asserts close(root(49), 7)
    for forged in (
        "def close(a, b): return True\ndef root(n): return 0",
        "import builtins\nbuiltins.abs = abs = lambda x: 0\ndef root(n): return 1",
        "class N(float):\n    def __sub__(self, other): return 0.0\ndef root(n): return N(3)",
    ):
        assert mbpp.score(root, f"```python\n{forged}\n```").value == 0.0, forged
    assert mbpp.score(root, "```python\ndef root(n): return n ** 0.5\n```").value == 1.0
