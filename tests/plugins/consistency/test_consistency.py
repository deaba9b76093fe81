"""Printed tables recomputed: the published ones, and the arithmetic behind it."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from decodebench import UsageError
from decodebench.plugins.consistency.check import check
from decodebench.plugins.consistency.expression import evaluate
from decodebench.plugins.consistency.intervals import Printed
from decodebench.plugins.consistency.shipped import find

PUBLISHED = find("dflash")


@pytest.fixture(scope="module")
def published():
    return check(PUBLISHED)


def verdicts(report, claim, table=None):
    return Counter(f.verdict for f in report.findings if f.claim == claim and table in (None, f.table))


@pytest.mark.parametrize(
    ("claim", "table", "expected"),
    [
        ("TPOT speed-up", None, {"exact": 21}),
        ("throughput gain", None, {"exact": 16}),
        ("E2E speed-up", None, {"exact": 9}),
        ("wall against vanilla", "prefix", {"exact": 6}),
        ("TPOT against vanilla", "prefix", {"exact": 6}),
        ("throughput against vanilla", "prefix", {"exact": 6}),
        ("tau against vanilla", "prefix", {"exact": 6}),
        ("token-normalised speed-up", "ewma", {"exact": 1}),
        ("more tokens", "single", {"exact": 1}),
        ("integral tokens", "candidate", {"exact": 2}),
        ("integral tokens", "matched", {"exact": 3}),
        ("integral tokens", "reference", {"exact": 2}),
        ("integral tokens", "prefix", {"exact": 6}),
        ("integral tokens", "rerun", {"exact": 3}),
        ("integral tokens", "adaptive", {"exact": 2}),
        ("cycle-mean tau", "plots", {"exact": 3}),
        ("cycle-mean tau", "matched", {"exact": 2}),
        ("cycle-mean tau, candidates on", "matched", {"exact": 1}),
        ("target share", "profiled", {"exact": 8}),
        ("verify per cycle", "profiled", {"exact": 8}),
        ("draft per cycle", "profiled", {"exact": 8}),
        ("decode per cycle", "profiled", {"exact": 8}),
        ("parts add up", "profiled", {"exact": 5, "rounding": 3}),
        ("greedy output does not depend on the block", "dense", {"no": 1}),
        ("the same work takes the same time", None, {"no": 2}),
        ("wall = TTFT + 512 TPOT", "candidate", {"no": 2}),
        ("parts within decode time", "matched", {"exact": 2, "no": 1}),
        ("95 % of the wall time accounted for", "reference", {"exact": 1}),
        ("95 % of the wall time accounted for", "prefix", {"no": 6}),
        ("switch rate", "ewma", {"exact": 1}),
        ("speed-up against one baseline", "seeding", {"exact": 2}),
        ("tau difference", "candidate", {"rounding": 1}),
        ("tau difference, unrounded", "candidate", {"exact": 1}),
        ("tpot difference in percent", "candidate", {"rounding": 1}),
        ("decode per cycle", "single", {"rounding": 1}),
        ("four candidates in every cycle", "candidate", {"no": 1}),
        ("candidates per cycle, budgets 1 4 8", "adaptive", {"no": 1}),
        ("candidates per cycle, budgets 2 3 4", "adaptive", {"no": 1}),
        ("steady tokens/s = 1 / TPOT", "matched", {"rounding": 3}),
        ("verify at least 5.8 drafts", "profiled", {"exact": 7, "no": 1}),
        ("one baseline", "baselines", {"no": 1}),
        ("verify calls per sample", "candidate", {"exact": 1}),
    ],
)
def test_the_published_figures_agree_where_they_do(published, claim, table, expected):
    assert verdicts(published, claim, table) == expected


def test_the_twelve_differences_to_the_static_run_agree(published):
    assert Counter(f.verdict for f in published.findings if f.claim.endswith("against static")) == {"exact": 12}


@pytest.mark.parametrize(("row", "cycles"), [("bs12", 8401), ("bs15", 7764)])
def test_one_count_of_cycles_fits_a_row_of_the_profiled_sweep(tmp_path, row, cycles):
    for other in (cycles - 1, cycles + 1):
        changed = PUBLISHED.read_text().replace(f'cycles = "{cycles}"', f'cycles = "{other}"')
        report = check(file_of(tmp_path, changed))
        per_cycle = [f for f in report.findings if f.row == row and f.table == "profiled" and "per cycle" in f.claim]
        assert "no" in {f.verdict for f in per_cycle}


@pytest.mark.parametrize(
    ("claim", "table", "expected"),
    [
        ("accuracy is a count of right answers", None, {"exact": 10}),
        ("tokens/s", "gsm8k", {"exact": 9}),
        ("hours", "gsm8k", {"exact": 3, "no": 6}),
        ("the same work takes the same time", "gsm8k", {"no": 1}),
        ("436,484 tokens across the sweep", "gsm8k", {"no": 1}),
        ("k2_last is no worse than k1_last in accuracy and in speed at once", "gsm8k", {"no": 1}),
        ("accuracy difference to k = 1", "summary", {"exact": 3}),
        ("speed against k1_middle", "summary", {"exact": 2}),
        ("k3_first is the best of k = 3", "summary", {"no": 1}),
        ("MMLU (5-shot)", "mmlu", {"no": 1}),
        ("the layers exist", "layers", {"exact": 2, "no": 1}),
        ("first layer of the subset", "layers", {"exact": 1, "no": 2}),
        ("last layer of the subset", "layers", {"exact": 1, "no": 2}),
        *((f"k = {k}: the same texts are right equally often", "gsm8k_10", {"no": 1}) for k in (1, 2, 3)),
        *((f"k = {k}: the layers do not change the text", "gsm8k_10", {"exact": 1}) for k in (1, 2, 3)),
        ("k = 1: about the same work takes about the same time", "math_70", {"exact": 1}),
        ("k = 2: about the same work takes about the same time", "math_70", {"no": 1}),
        ("k = 3: about the same work takes about the same time", "math_70", {"no": 1}),
    ],
)
def test_the_published_layer_reuse_has_its_known_errors(claim, table, expected):
    assert verdicts(check(find("fast-dllm")), claim, table) == expected


def test_the_tables_that_ship_are_listed_and_found_by_name(cli):
    listed = {one["name"]: one for one in cli("consistency", "--list", "--json").json}
    assert listed.keys() == {"dflash", "fast-dllm"}
    assert all(one["title"] and "github.com" in one["source"] and one["claims"] > 20 for one in listed.values())
    plain = cli("consistency", "--list")
    assert plain.code == 0 and all(f"{name}: " in plain.out for name in listed)
    found = cli("consistency", "fast-dllm", "--json")
    assert found.code == 1 and found.json["totals"]["no"] == 21
    assert any(finding["recomputed"] is None for finding in found.json["findings"])  # a spread that begins at 0
    for arguments, words in (([], "--list"), (["dflask"], "dflash, fast-dllm"), (["absent.toml"], "cannot read")):
        ended = cli("consistency", *arguments)
        assert (ended.code, ended.out) == (2, "") and words in ended.err and "Traceback" not in ended.err


def test_the_command_says_what_disagrees_and_exits_with_1(cli):
    ended = cli("consistency", PUBLISHED)
    assert (ended.code, ended.err) == (1, "")
    assert "186 exact, 19 rounding, 17 no" in ended.out
    report = cli("consistency", PUBLISHED, "--json").json
    assert report["totals"] == {"exact": 186, "rounding": 19, "no": 17}


def file_of(tmp_path, text):
    path = tmp_path / "tables.toml"
    path.write_text(text)
    return path


TABLE = '[tables.t.rows]\na = { x = "2.0", y = "4.0", z = "2.00" }\nb = { x = "0.0", y = "1.0", z = "1" }\n'


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        ('printed = "a.z"\nexpression = "y / x"', None),
        ('printed = "a.z"\nexpression = "y / w"', "figure 'w' is not in the tables"),
        ('printed = "b.z"\nexpression = "y / x"', "divides by what may be 0"),
        ('printed = "q"\nexpression = "y"', "no figure 'q'"),
        ('printed = "a.z"\nexpression = "__import__(1)"', "not allowed in an expression"),
        ('printed = "a.z"\nexpression = "y / "', "not an expression"),
        ('kind = "integer"', "kind 'integer' needs 'expression'"),
        ('kind = "same"', "kind 'same' needs one of 'printed' and 'expression'"),
        ('printed = "a.z"\nexpression = "y"\nlimits = 3', "limits"),
    ],
)
def test_a_malformed_claim_is_told_in_one_line(cli, tmp_path, claim, words):
    path = file_of(tmp_path, TABLE + f'[[claims]]\nname = "c"\ntable = "t"\n{claim}\n')
    ended = cli("consistency", path)
    if words is None:
        assert ended.code == 0
        assert "every figure agrees" in ended.out
        return
    assert (ended.code, ended.out) == (2, "")
    assert words in ended.err and str(path) in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[tables", "tables.toml"),
        ('[tables.t.rows]\na = { x = "two" }\n[[claims]]\nname="c"\ntable="t"\n', "'two'"),
    ],
)
def test_a_malformed_file_is_told(tmp_path, text, words):
    with pytest.raises(UsageError, match=words):
        check(file_of(tmp_path, text))
    with pytest.raises(UsageError, match="cannot read"):
        check(tmp_path / "absent.toml")


@pytest.mark.parametrize(
    ("text", "number", "half"),
    [
        ("1,234.50", 1234.5, 0.005),
        ("12.5%", 0.125, 0.0005),
        ("3.40x", 3.4, 0.005),
        ("-7", -7, 0.5),
        (".25", 0.25, 0.005),
    ],
)
def test_printed_digits_stand_for_what_rounds_to_them(text, number, half):
    interval = Printed.read(text).interval
    assert (interval.value, interval.high - interval.value) == (pytest.approx(number), pytest.approx(half))


values = st.floats(0.01, 1000).map(lambda value: round(value, 6))


@given(values, values, values, st.integers(1, 5))
def test_the_interval_holds_the_true_result_whatever_was_rounded(a, b, c, digits):
    printed = {name: Printed.read(f"{value:.{digits}f}") for name, value in (("a", a), ("b", b), ("c", c))}
    assume(printed["b"].interval.low > 0 and printed["c"].interval.low > 0)
    cases = {
        "a / b - c": a / b - c,
        "(a + b) * c": (a + b) * c,
        "-a / (b * c)": -a / (b * c),
        "mean(a, b, c) + max(a, b) - min(b, c)": (a + b + c) / 3 + max(a, b) - min(b, c),
    }
    for expression, truth in cases.items():
        found = evaluate(expression, lambda name: printed[name].interval)
        slack = 1e-9 * (1 + abs(truth))
        assert found.low - slack <= truth <= found.high + slack


@given(st.floats(-1000, 1000), st.integers(0, 5))
def test_a_number_agrees_with_its_own_rounding(value, digits):
    assert Printed.read(f"{value:.{digits}f}").is_rounded_from(value)
