"""The kit passes what keeps the contract and catches what breaks it, each by the check meant for it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import Field

from decodebench import BackendOptions, UsageError
from decodebench.core.conformance.kit import CHECKS, checks_of, chosen, with_table
from decodebench.core.conformance.memory import growth_per_cycle
from decodebench.core.conformance.option_reads import recording
from decodebench.core.conformance.subject import Setup, Subject
from decodebench.core.isolation.plugins import all_plugins
from decodebench.testing import BackendConformance

from ..at_night import at_night

PLUGIN = Path(__file__).parents[1] / "conformance_plugin"
CHECKED = {check.name: check for check in CHECKS}

# twin -> the check that must catch it, and what it must say
BROKEN = {
    "twin-importing": ("importing_loads_no_engine", r"importing the plugin imports twin_engine \(of twin-engine\)"),
    "twin-importing-probe": ("probe_is_cheap", r"probing imports twin_engine"),
    "twin-slow-probe": ("probe_is_cheap", r"took \d+ ms of CPU time; 50 ms are allowed"),
    "twin-unloadable": ("probe_is_honest", r"is available, but the model could not be loaded: the engine's library"),
    "twin-no-fix": ("probe_is_honest", r"not available and gives no fix"),
    "twin-no-version": ("probe_is_honest", r"gives the version None"),
    "twin-takes-anything": ("options_refuse_what_they_should", r"an unknown option is accepted; .*can be changed"),
    "twin-undescribed": ("options_refuse_what_they_should", r"draft_length has no description"),
    "twin-unused-option": ("options_are_used", r"never read, and not named in Preflight.inert: n_threads"),
    "twin-remembering": ("greedy_is_deterministic", r"gives other tokens"),
    "twin-racing": ("greedy_is_deterministic", r"prompt 1 gives other tokens in another process"),
    "twin-runs-over": ("max_new_tokens_is_respected", r"max_new_tokens = 1: .* tokens committed, the limit is 1"),
    "twin-misses-stops": ("stop_tokens_end_the_output", r"tokens committed after the stop token"),
    "twin-never-closes": ("stop_strings_end_the_text", r"generator ignored GeneratorExit"),
    "twin-reuses-its-list": ("committed_ids_are_the_output", r"holds other ids at the end than when it was yielded"),
    "twin-strange-ids": ("committed_ids_are_the_output", r"commits \d+"),
    "twin-counts-the-bonus": ("counts_add_up", r"commits \d tokens?; \d of 3 drafted ones were accepted"),
    "twin-no-forwards": ("counts_add_up", r"0 forwards for \d+ tokens"),
    "twin-milliseconds": ("timestamps_are_monotonic", r"draft_s adds up to .* the host's clock saw"),
    "twin-burst": ("timestamps_are_monotonic", r"all steps come in a burst"),
    "twin-dirty-after-closing": ("cancellation_leaves_it_usable", r"closed after 1 steps, then: token"),
    "twin-crashes-when-closed": ("cancellation_leaves_it_usable", r"the process died of SIGSEGV"),
    "twin-unseeded": ("sampling_follows_its_seed", r"6 seeds at temperature 1.5 give one output"),
    "twin-mixes-rows": ("rows_of_a_batch_are_independent", r"row 1 gets other tokens in a batch"),
    "twin-forgets-its-depth": ("a_depth_changes_no_token", r"behind a depth of \d+: "),
    "twin-marks-no-depth": ("a_depth_changes_no_token", r"asked for a depth of 1, it marked 0 steps"),
    "twin-mixes-streams": ("rows_of_a_stream_are_independent", r"request \d gets other tokens in a stream"),
    "twin-waits-for-all": ("streams_keep_rows_running", r"third request waits until both before it have ended"),
    "twin-never-asks": ("streams_end_what_is_not_wanted", r"went on to its limit of 24 tokens"),
    "twin-leaves-its-server": ("residence_is_as_declared", r"1 process of its server live on after close"),
    "twin-names-a-server": ("residence_is_as_declared", r"runs in process and names the server http"),
    "twin-leaks": ("close_frees_memory", r"4\.0 MiB kept per cycle, the weights have 4\.0 MiB"),
    "twin-never-drops": ("close_frees_memory", r"MiB kept per cycle"),
    "twin-undeclared-error": ("errors_name_their_cause", r"damaged weights: KeyError: "),
    "twin-unspecific-error": ("errors_name_their_cause", r"device 'no-such-device:0': BackendError does not name it"),
    "twin-shifted-scores": ("score_agrees_with_greedy_choice", r"score does not call it the likeliest"),
    "twin-rounds": ("tokens_match_the_reference", r"is \d+ instead of \d+, where the reference's top-two margin is"),
}
# what else cannot be right then
ALSO_FAIL = {
    "twin-racing": {"stop_strings_end_the_text", "score_agrees_with_greedy_choice", "tokens_match_the_reference"},
    "twin-remembering": {
        "stop_tokens_end_the_output",
        "score_agrees_with_greedy_choice",
        "tokens_match_the_reference",
    },
    "twin-never-closes": {"cancellation_leaves_it_usable"},
    "twin-dirty-after-closing": {"stop_strings_end_the_text"},
    "twin-crashes-when-closed": {"stop_strings_end_the_text"},
    # a list that changes behind the host's back spoils all that is generated
    "twin-reuses-its-list": set(CHECKED)
    - {"importing_loads_no_engine", "probe_is_cheap", "probe_is_honest", "options_refuse_what_they_should"}
    - {"errors_name_their_cause"},
}


@pytest.fixture(scope="module")
def registry(cache):
    """The registry of a host that has the twins installed, which worker processes see too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DECODEBENCH_CACHE", str(cache))
        patch.setenv("PYTHONPATH", str(PLUGIN))
        patch.syspath_prepend(str(PLUGIN))
        found = all_plugins()
        assert {"twin", "twin-importing"} <= set(found.backends)
        yield found


def subject_of(registry, backend: str, **settings) -> Subject:
    settings = {"model": "tiny:draft", "reference": "twin-reference", **settings}
    return Subject(Setup(backend, **settings), registry)


def verdicts(subject: Subject) -> dict[str, str]:
    return {check.name: check.run(subject).verdict for check in CHECKS}


def test_a_backend_that_keeps_the_contract_passes_every_check(registry):
    subject = subject_of(registry, "twin-streaming")
    results = [check.run(subject) for check in CHECKS]
    assert [result for result in results if result.verdict != "passed"] == []


@pytest.fixture
def running_server(registry):
    """The port of an engine that somebody else serves."""
    import twin_server

    process, port = twin_server.start(subject_of(registry, "twin").cell.model.path, 0.5)
    yield port
    twin_server.end(process)


@pytest.mark.nightly
def test_an_engine_in_a_server_passes_every_check_that_can_look_at_it(registry, running_server):
    for backend, options in (("twin-served", {}), ("twin-remote", {"port": running_server})):
        subject = subject_of(registry, backend, options=options)
        results = {check.name: check.run(subject) for check in CHECKS}
        assert {name: result.reason for name, result in results.items() if result.verdict == "failed"} == {}
        assert results["close_frees_memory"].reason == f"its model is elsewhere: {subject.backend.residence}"
        assert results["residence_is_as_declared"].verdict == "passed" and subject.facts.weight_bytes is None


@pytest.mark.nightly
def test_what_a_backend_does_not_declare_is_skipped_with_the_declaration(registry):
    subject = subject_of(registry, "twin-reference", reference="twin")
    results = {check.name: check.run(subject) for check in CHECKS}
    assert {name: result.reason for name, result in results.items() if result.verdict != "passed"} == {
        "options_are_used": "it has no options",
        "a_depth_changes_no_token": "it does not declare 'depth'",
        "sampling_follows_its_seed": "it does not declare 'sampling'",
        "rows_of_a_batch_are_independent": "it declares max_batch_size = 1",
        "rows_of_a_stream_are_independent": "it does not declare 'continuous'",
        "streams_keep_rows_running": "it does not declare 'continuous'",
        "streams_end_what_is_not_wanted": "it does not declare 'continuous'",
        "score_agrees_with_greedy_choice": "it does not declare 'score'",
        "tokens_match_the_reference": "it claims no exactness, for none since it makes no such claim",
    }
    assert {result.verdict for result in results.values()} == {"passed", "skipped"}


@pytest.mark.nightly
def test_checks_of_the_author_run_after_those_of_the_contract(registry, cache):
    own = checks_of(registry.backend("twin"))[len(CHECKS) :]
    assert [check.name for check in own] == ["drafts_keep_their_length"]
    kept, broken = (own[0].run(subject_of(registry, name)) for name in ("twin", "twin-drafts-too-much"))
    assert (kept.verdict, kept.reason) == ("passed", "at most 3 tokens")
    assert broken.verdict == "failed" and "drafts 4 tokens; draft_length = 3" in broken.reason
    assert (broken.rule[:14], broken.advice) == ("No cycle draft", "Cut the draft before it is verified.")


def test_checks_of_the_author_are_tests_of_the_inherited_class(registry):
    suite = type("TestTwin", (BackendConformance,), {"backend": "twin"})
    assert callable(suite.test_drafts_keep_their_length) and not hasattr(
        BackendConformance, "test_drafts_keep_their_length"
    )
    assert [check.name for check in chosen(["drafts_keep_their_length"], checks_of(registry.backend("twin")))]
    misnamed = type("Misnamed", (registry.backend("twin"),), {"checks": "no_such_module"})
    with pytest.raises(UsageError, match="'no_such_module' cannot be imported: ModuleNotFoundError"):
        checks_of(misnamed)


def test_every_check_has_a_twin_that_breaks_its_rule():
    assert {check for check, _ in BROKEN.values()} == set(CHECKED)


FIRST_OF_EACH_CHECK = {check: twin for twin, (check, _) in reversed(BROKEN.items())}


@pytest.mark.parametrize("twin", at_night(BROKEN, but=list(FIRST_OF_EACH_CHECK.values())[::8]))
def test_a_broken_rule_is_caught_by_the_check_meant_for_it(registry, twin):
    name, seen = BROKEN[twin]
    result = CHECKED[name].run(subject_of(registry, twin))
    assert result.verdict == "failed", result
    assert re.search(seen, result.reason), result.reason
    assert result.advice == CHECKED[name].advice


@pytest.mark.nightly
@pytest.mark.parametrize("twin", BROKEN)
def test_a_broken_rule_leaves_the_other_checks_alone(registry, twin):
    name, _ = BROKEN[twin]
    found = verdicts(subject_of(registry, twin))
    failed = {check for check, verdict in found.items() if verdict == "failed"}
    assert failed == {name} | ALSO_FAIL.get(twin, set())
    if name == "probe_is_honest" and twin != "twin-no-version":
        assert found["greedy_is_deterministic"] == "skipped"


def test_a_backend_that_dies_in_one_check_is_still_judged_by_the_others(registry):
    subject = subject_of(registry, "twin-crashes-when-closed")
    assert CHECKED["cancellation_leaves_it_usable"].run(subject).verdict == "failed"
    for name in ("max_new_tokens_is_respected", "sampling_follows_its_seed", "rows_of_a_batch_are_independent"):
        assert CHECKED[name].run(subject).verdict == "passed"


@pytest.mark.nightly
def test_a_backend_that_hangs_fails_its_check_after_the_time_out(registry):
    subject = subject_of(registry, "twin-hangs-when-closed", timeout_s=6)
    assert CHECKED["max_new_tokens_is_respected"].run(subject).verdict == "passed"
    result = CHECKED["cancellation_leaves_it_usable"].run(subject)
    assert (result.verdict, result.reason) == ("failed", "stopped after the time-out of 6 s")


def test_checks_that_need_a_model_are_not_judged_without_one(registry):
    subject = subject_of(registry, "twin-unloadable")
    result = CHECKED["greedy_is_deterministic"].run(subject)
    assert result.verdict == "skipped"
    assert result.reason == "not judged: the model could not be loaded: the engine's library is missing"


class Options(BackendOptions):
    """Three options."""

    width: int = Field(4, description="a number")
    depth: int = Field(2, description="another")
    name: str = Field("x", description="a word")


def test_reading_an_option_is_noted_and_looking_at_all_of_them_is_not():
    options, read = recording(Options(width=9))
    assert isinstance(options, Options)
    assert (repr(options), options == options, read) == ("Options(width=9, depth=2, name='x')", True, set())
    assert options.width == 9
    assert read == {"width"}
    assert options.model_copy(update={"depth": 7}).depth == 7
    assert read == {"width", "depth"}


@pytest.mark.parametrize("whole", [lambda o: o.model_dump(), dict, vars, lambda o: o.model_dump_json()])
def test_handing_all_options_on_counts_as_reading_all(whole):
    options, read = recording(Options())
    whole(options)
    assert read == {"width", "depth", "name"}


def test_growth_is_not_moved_by_one_outlier():
    assert growth_per_cycle([0, 1, 2, 3, 50]) == pytest.approx(1.0)
    assert growth_per_cycle([100, 100, 100, 900, 100, 100]) == 0


# the command


@pytest.fixture
def check(cli):
    def run(*arguments):
        return cli(
            "plugins", "check", *arguments, "-m", "tiny:draft", env={"PYTHONPATH": str(PLUGIN), "COLUMNS": "250"}
        )

    return run


def test_the_command_says_of_every_check_how_it_went(check):
    cheap = ["--only", "probe_is_cheap", "--only", "options_refuse_what_they_should"]
    ended = check("twin-undescribed", *cheap)
    assert ended.code == 1
    assert "twin-undescribed 1/2 probe_is_cheap: passed" in ended.err
    assert re.search(r"options_refuse_what_they_should +failed +option draft_length has no description", ended.out)
    assert "give every field a type and a description" in ended.out
    assert "1 passed, 1 failed" in ended.out

    (report,) = check("twin-undescribed", *cheap, "--json").json
    assert (report["backend"], report["plugin"], report["quantisation"]) == ("twin-undescribed", "twins", "none")
    assert [result["verdict"] for result in report["results"]] == ["passed", "failed"]


def test_a_plugin_is_checked_with_all_its_backends(check):
    ended = check("twins", "--only", "options_refuse_what_they_should", "--json")
    assert ended.code == 1
    failed = {report["backend"] for report in ended.json if report["results"][0]["verdict"] == "failed"}
    assert failed == {"twin-takes-anything", "twin-undescribed"}
    assert len(ended.json) > 20


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["twinn"], "did you mean 'twin'?"),
        (["reference"], "plugin 'reference' provides no backend"),
        (["twin", "--only", "probe_is_chaep"], "did you mean 'probe_is_cheap'?"),
        (["twin", "--set", "draft_lenght=2"], "did you mean 'draft_length'?"),
        (["twin", "-q", "q4"], "unknown quantisation"),
        (["twin", "--reference", "nobody"], "unknown backend 'nobody'"),
    ],
)
def test_what_is_not_known_is_refused(check, arguments, words):
    ended = check(*arguments)
    assert ended.code == 2
    assert words in ended.err and "Traceback" not in ended.err


# the class

SUITE = """
from decodebench.testing import BackendConformance
from twins import {kind}


class TestMine(BackendConformance):
    backend = {kind}
    model = "tiny:draft"
    reference = "twin-reference"
"""


@pytest.fixture
def suite(tmp_path, cli):
    """Runs the tests of a plugin's author as he would."""

    def run(kind: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "test_mine.py").write_text(SUITE.format(kind=kind))
        command = [sys.executable, "-m", "pytest", "-v", "-rs", "-p", "no:cacheprovider", *arguments, str(tmp_path)]
        environment = {**cli.environment, "PYTHONPATH": str(PLUGIN)}
        return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)

    return run


CHEAP = "importing or probe_is_cheap or options_refuse or sampling or reference"


@pytest.mark.nightly
def test_an_author_sees_every_check_as_a_test_of_its_own(suite):
    ended = suite("Twin", "--collect-only", "-q")
    assert re.findall(r"<Function test_(\w+)>", ended.stdout) == [*CHECKED, "drafts_keep_their_length"]


@pytest.mark.nightly
def test_an_author_sees_skips_with_their_reason(suite):
    ended = suite("Reference", "-k", CHEAP)
    assert ended.returncode == 0, ended.stdout
    assert re.search(r"3 passed, 2 skipped", ended.stdout)
    assert "it does not declare 'sampling'" in ended.stdout


def test_an_author_sees_what_is_wrong_and_what_to_do(suite):
    ended = suite("Undescribed", "-k", "options_refuse")
    assert ended.returncode == 1
    assert "seen: option draft_length has no description" in ended.stdout
    assert "advice: Derive Options from BackendOptions" in ended.stdout
    assert "Traceback" not in ended.stdout


@pytest.mark.nightly
def test_a_class_that_is_not_the_installed_one_is_refused(suite, tmp_path):
    shutil.copy2(PLUGIN / "twins.py", tmp_path / "copied.py")
    (tmp_path / "test_other.py").write_text(SUITE.format(kind="Twin").replace("from twins", "from copied"))
    ended = suite("Twin", "-k", "test_other and probe_is_cheap")
    assert ended.returncode == 1
    assert "is twins.Twin where it is installed, not copied.Twin" in ended.stdout


def test_the_class_is_imported_without_engine_and_without_pytest():
    heavy = ("torch", "pytest", "duckdb")
    code = f"import sys, decodebench.testing; print([name for name in {heavy} if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


def test_the_page_lists_the_checks_as_they_are():
    page = (Path(__file__).parents[2] / "docs" / "conformance.md").read_text(encoding="utf-8")
    assert with_table(page) == page
