"""Known answers to the sample problems, through the command line: accuracy, interval and pass@k as computed by hand."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from decodebench import UsageError
from decodebench.plugins.tasks import sandbox

from ...at_night import a_few
from ...waiting import until

TESTS = Path(__file__).parents[2]
RUN = ["run", "-b", "scripted", "-m", "tiny:draft", "--rounds", 1, "--warmup", 0, "--json"]

GSM8K = [  # 6 of 8 are right
    ("3 trays of 12 rolls", " She bakes 36 rolls and keeps 36-8=28.\n#### 28"),
    ("A van costs", r" Two weeks are \boxed{\$2{,}500}."),
    ("Omar had 15 marbles", " 15-4=11, 11+9=20. He has **20** marbles."),
    ("A pool holds 900", " It loses 45 litres\n\nQuestion: and 7?"),
    ("At dawn it is 3", " It is \u22124 degrees."),
    ("Six friends share", " 90/6 = 15.0"),
    ("Lea reads 14", " 14*9=136"),
    ("A rope of 64 m", " I do not know."),
]
AIME = [
    ("2^{10}", r"It is $\boxed{024}$."),
    ("divisors", r"\boxed{24}"),
    ("primes", "77"),
    ("roots", r"\boxed{\frac{169}{1}}"),
]
MATH = [
    ("lowest terms", r"\boxed{0.75}"),
    ("sqrt{50}", r"The answer is $\sqrt{50}$"),
    ("x^2<4", r"\boxed{[-2,2]}"),
    ("Expand", r"\boxed{(x+3)(x+3)}"),
    ("polar", r"\boxed{(4,\pi/2)}"),
    ("seconds", r"\boxed{7,\!200}"),
    ("weekday", r"\boxed{\text{Sunday}}"),
]
MBPP = [
    ("cube a number", "def cube(n):\n  return n * n * n\n[DONE]"),
    ("join words", "```python\ndef dashed(words):\n    return '-'.join(words)\n```"),
    ("square root", "def root(n):\n  return n // 2\n[DONE]"),
]

ONE_LINE = "    return {}\n"
HUMANEVAL = {  # right of five: 5, 2, 0, 1
    "add_all": [ONE_LINE.format("sum(numbers)")] * 5,
    "twice": [ONE_LINE.format(x) for x in ("word * 2", "word", "word + word", "word[::-1]", "'ab' * 2")],
    "evens": [
        ONE_LINE.format("numbers"),
        "    while True: pass\n",
        "    import os\n    while True: os.fork()\n",
        "    return bytearray(10 * 10**9)\n",
        "    import os\n    os._exit(0)\n",
    ],
    "largest": [
        ONE_LINE.format("max(values)"),
        ONE_LINE.format("max(values, default=None)"),
        "    import socket\n    socket.create_connection(('1.1.1.1', 53), 2)\n",
        "    import shutil\n    shutil.rmtree('/home/nobody-there')\n    return None\n",
        "    retur values\n",
    ],
}


@pytest.fixture
def scripted(cli, tmp_path, data_by_hand):
    """Run the command line with the backend that says what it is told to."""

    def run(script, *arguments):
        path = tmp_path / "script.json"
        path.write_text(json.dumps([[words, said if isinstance(said, list) else [said]] for words, said in script]))
        cli.environment |= {"PYTHONPATH": str(TESTS / "scripted_plugin"), "DECODEBENCH_DATA": str(data_by_hand)}
        return [*RUN, "--set", f"script={path}", "-o", tmp_path / "out", *arguments]

    return run


@pytest.fixture
def holds():
    try:
        sandbox.check()
    except UsageError as error:
        pytest.skip(str(error))


def accuracy(cli, command):
    ended = cli(*command)
    assert ended.code == 0, ended.err
    return ended.json["comparison"]["rows"][0]["accuracy"]


def test_gsm8k_with_its_interval(cli, scripted, tmp_path):
    found = accuracy(cli, scripted(GSM8K, "--task", "gsm8k", "--samples", 8))
    # Wilson, z = 1.959964: centre (0.75 + z^2/16)/(1 + z^2/8), half z sqrt(0.75*0.25/8 + z^2/256)/(1 + z^2/8)
    assert found["value"] == pytest.approx({"value": 0.75, "low": 0.40928, "high": 0.92852, "n": 8}, abs=2e-5)
    assert found["task"].startswith("gsm8k 1+") and found["pass_at_k"] == {}
    rows = cli(
        "query", "SELECT text, extracted, finish FROM samples WHERE extracted = '45'", tmp_path / "out", "--json"
    )
    assert rows.rows == [[" It loses 45 litres\n", "45", "stop-string"]]
    record = cli("query", "SELECT task, task_version, max_new_tokens FROM runs", tmp_path / "out", "--json").rows
    assert record == [["gsm8k", found["task"].split()[1], 512]]


@pytest.mark.parametrize(
    ("name", "script", "share", "more"),
    a_few(
        1,
        [("aime25", AIME, 2 / 4, []), ("math500", MATH, 5 / 7, []), ("mbpp", MBPP, 2 / 3, ["--allow-code-execution"])],
    ),
)
def test_other_tasks(cli, scripted, holds, name, script, share, more):
    found = accuracy(cli, scripted(script, "--task", name, "--samples", len(script), *more))
    assert found["value"]["value"] == pytest.approx(share) and found["value"]["n"] == len(script)


@pytest.mark.nightly
def test_humaneval_with_pass_at_k(cli, scripted, holds, tmp_path):
    script = [(f"def {name}(", said) for name, said in HUMANEVAL.items()]
    attempts = ["--attempts", 5, "--temperature", 0.8, "--allow-code-execution"]
    found = accuracy(cli, scripted(script, "--task", "humaneval", "--samples", 4, *attempts))
    # 1 - C(5-c, k)/C(5, k) for c = 5, 2, 0, 1
    by_hand = {"1": (1 + 2 / 5 + 0 + 1 / 5) / 4, "2": (1 + 7 / 10 + 0 + 4 / 10) / 4, "5": (1 + 1 + 0 + 1) / 4}
    assert {k: e["value"] for k, e in found["pass_at_k"].items()} == pytest.approx(by_hand)
    assert all(0 <= e["low"] < e["value"] < e["high"] <= 1 and e["n"] == 4 for e in found["pass_at_k"].values())
    assert found["value"] == pytest.approx(found["pass_at_k"]["1"])
    reasons = cli("query", "SELECT DISTINCT extracted FROM samples", tmp_path / "out", "--json").rows
    told = " ".join(reason for (reason,) in reasons)
    for word in (
        "passed",
        "AssertionError",
        "timeout",
        "MemoryError",
        "BlockingIOError",
        "not supported",
        "SyntaxError",
    ):
        assert word in told


def test_code_is_refused_unless_it_is_allowed(cli, scripted, tmp_path):
    ended = cli(*scripted([], "--task", "humaneval", "--samples", 2))
    assert ended.code == 2 and "--allow-code-execution" in ended.err and not (tmp_path / "out").exists()


@pytest.mark.nightly
def test_ctrl_c_while_programs_run_ends_them_and_keeps_what_was_finished(cli, scripted, holds, tmp_path):
    script = [(f"def {name}(", "    while True: pass\n") for name in HUMANEVAL]
    command = scripted(script, "--task", "humaneval", "--samples", 4, "--allow-code-execution")
    with cli.start(*command) as process:
        host, out = psutil.Process(process.pid), tmp_path / "out"
        until(lambda: any(part.read_text().count('"sample_id"') == 4 for part in out.rglob("*.jsonl.part")), process)
        until(lambda: any(child.name() == "bwrap" for child in host.children()), process)
        begin = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in err and time.monotonic() - begin < 20
    sql = "SELECT status, reason FROM runs"
    assert cli("collate", tmp_path / "out").code == 0
    assert cli("query", sql, tmp_path / "out", "--json").rows == [
        ["interrupted", "interrupted by the user while answers were scored"]
    ]


@pytest.mark.nightly
def test_speed_alone_has_no_accuracy(cli, scripted):
    script = [("walk by the sea", "Sand."), ("train goes", "80 km/h"), ("first in", "A queue.")]
    ended = cli(*scripted(script, "--task", "mt-bench", "--samples", 3))
    assert ended.code == 0, ended.err
    assert ended.json["comparison"]["rows"][0]["accuracy"] is None


def test_the_listing_tells_template_source_and_metric(cli):
    found = {task["name"]: task for task in cli("tasks", "--json").json}
    assert {"gsm8k", "gsm8k-8shot", "aime25", "math500", "mmlu", "gpqa", "humaneval", "mbpp", "mt-bench"} < set(found)
    assert found["gsm8k"]["source"].startswith("https://huggingface.co/datasets/openai/gsm8k/tree/")
    assert found["humaneval"]["executes_code"] and found["mt-bench"]["metric"] == "none: speed only"
    assert "file:PATH" in found and all(task["template"] for task in found.values() if task["plugin"] == "tasks")
