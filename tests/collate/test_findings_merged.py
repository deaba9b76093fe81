"""A check gives one finding: what it doubts of several cells, in one line with all of them behind it."""

from __future__ import annotations

import pytest

from decodebench.collate.findings.merging import merged
from decodebench.core.contract.finding import Doubt, Place

NAMES = {f"r{i}": f"cell {i // 2}" for i in range(12)}  # two rounds a cell


def doubt(text, *runs, severity="warning"):
    return Doubt(text, "do this", [Place(run_id=run) for run in runs], severity)


def test_nothing_doubted_is_no_finding():
    assert merged("c", iter(()), NAMES) is None


def test_one_doubt_stays_as_it_is():
    found = merged("c", [doubt("'cell 0' is odd", "r0", "r1")], NAMES)
    assert (found.text, found.advice, found.cells, found.details) == ("'cell 0' is odd", "do this", ("cell 0",), ())
    assert str(found) == "'cell 0' is odd; do this"


def test_the_first_of_the_gravest_speaks_for_all():
    found = merged(
        "c", [doubt("a", "r0", severity="note"), doubt("b", "r2", severity="error"), doubt("c", "r4")], NAMES
    )
    assert found.severity == "error" and found.text == "b; 2 more such, in 'cell 2', 'cell 0'"
    assert found.details == ("b", "c", "a") and found.cells == ("cell 1", "cell 2", "cell 0")


def test_a_cell_with_several_doubts_is_named_once():
    found = merged("c", [doubt("a", "r0"), doubt("b", "r1"), doubt("c", "r0", "r1")], NAMES)
    assert found.text == "a; 2 more such" and found.cells == ("cell 0",) and len(found.rows) == 2


@pytest.mark.parametrize("count", [3, 6])
def test_many_cells_are_counted(count):
    found = merged("c", [doubt("odd", f"r{2 * i}") for i in range(count)], NAMES)
    more = f" and {count - 3} more cells" if count > 3 else ""
    assert found.text == f"odd; {count - 1} more such, in 'cell 1', 'cell 2'{more}"


def test_what_belongs_to_no_cell_has_none():
    found = merged("files", [doubt("x.json is cut"), doubt("y.json is cut")], NAMES)
    assert found.text == "x.json is cut; 1 more such" and found.cells == () and found.rows == ()


def test_the_command_shows_a_line_a_check_and_on_request_each_cell(cli, logs):
    for cell in "abc":
        logs.write(cell)
        logs.write(cell, 1, status="crashed", reason="signal 9")
    (line,) = [line for line in cli("findings", logs.folder).out.splitlines() if line.endswith("[unfinished-rounds]")]
    assert line.startswith("error: round 2 of 'a f16' ") and "'b f16', 'c f16'" in line
    detailed = cli("findings", logs.folder, "--details").out
    assert detailed.count("round 2 of ") == 4 and "\n  round 2 of 'c f16' " in detailed
    (found,) = [one for one in cli("findings", logs.folder, "--json").json["findings"] if one["severity"] == "error"]
    assert found["cells"] == ["a f16", "b f16", "c f16"] and len(found["details"]) == len(found["rows"]) == 3
    assert "error: round 2 of 'a f16'" in " ".join(cli("compare", logs.folder).out.split())


def test_an_option_that_changed_the_work_is_not_inert(logs, cli, make_sample, make_steps):
    """Outputs are those of the target, whatever is drafted; so is the speed, within the noise."""

    def drafting(drafted, accepted):
        steps = make_steps(n=6, forwards=1)
        return [make_sample(0, [{**step, "drafted": drafted, "accepted": accepted} for step in steps])]

    for cell, drafted, accepted in (("a", 4, 1), ("b", 8, 1)):
        for index in range(3):
            logs.write(cell, index, drafting(drafted, accepted), samples=1, backend="x", options={"k": drafted})
    checks = {one["check"] for one in cli("findings", logs.folder, "--json").json["findings"]}
    assert "inert-options" not in checks


def test_an_option_of_the_forwards_is_not_inert(logs, cli, make_sample, make_steps):
    for cell, forwards in (("a", 1), ("b", 2)):
        for index in range(3):
            content = [make_sample(0, make_steps(n=6, forwards=forwards))]
            logs.write(cell, index, content, samples=1, backend="x", options={"reuse": forwards})
    checks = {one["check"] for one in cli("findings", logs.folder, "--json").json["findings"]}
    assert "inert-options" not in checks
