"""lm-evaluation-harness both ways: its tasks here and our backends there give the same numbers, offline."""

from __future__ import annotations

import itertools
import json
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import psutil
import pytest

from decodebench import BackendError, UsageError
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.measure.rounds.conversation import WORKER

pytest.importorskip("lm_eval")
FOLDER = Path(__file__).parents[2] / "data" / "lm_eval"
MODEL_ARGS = "backend=llama-cpp,model=tiny:target,quantisation=f32,n_threads=1"
TASKS = ("tiny_numbers", "tiny_choices")


@pytest.fixture(scope="module", autouse=True)
def offline(tmp_path_factory):
    """The data sets' own cache in a folder of the test; nothing is loaded from a network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hf")))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.chdir(FOLDER)
        yield


@pytest.fixture(scope="module")
def there(cli_for, tmp_path_factory):
    """All three tasks in the harness, with our backend as its model."""
    folder = tmp_path_factory.mktemp("there")
    tasks = ["--include_path", ".", "--tasks", ",".join((*TASKS, "tiny_text"))]
    keeping = ["--output_path", folder, "--log_samples", "--use_cache", folder / "answers"]
    result = cli_for(folder)("lm-eval", "--model", "decodebench", "--model_args", MODEL_ARGS, *tasks, *keeping)
    assert result.code == 0, result.err
    (file,) = folder.rglob("results_*.json")
    return folder, json.loads(file.read_text())["results"]


@pytest.fixture(scope="module")
def here(cli_for, tmp_path_factory):
    """Two tasks as tasks of ours: every problem scored by the harness's filters and metrics."""
    folder = tmp_path_factory.mktemp("here")
    command = ["run", "-b", "llama-cpp", "-m", "tiny:target", "-q", "f32", "--set", "n_threads=1", "--rounds", "1"]
    command += ["--samples", "12", "--warmup", "0", "-o", folder]
    found = {}
    for task in TASKS:
        name = f"lm-eval:{task},include_path=."
        result = cli_for(folder)(*command, "--task", name, "--name", task)
        assert result.code == 0, result.err
        found[task] = cli_for(folder)("compare", folder, "--experiment", task, "--json").json["rows"][0]["accuracy"]
    return found


@pytest.mark.nightly
def test_answers_in_words_have_the_same_number_both_ways(here, there):
    _, results = there
    ours = here["tiny_numbers"]
    assert ours["value"]["value"] == results["tiny_numbers"]["exact_match,flexible-extract"] > 0.5
    strict = ours["further"]["exact_match,strict-match"]["value"]
    assert strict == results["tiny_numbers"]["exact_match,strict-match"]
    assert ours["value"]["n"] == 12 and ours["task"].startswith("lm-eval:tiny_numbers,include_path=. 0.4.")


@pytest.mark.nightly
def test_choices_have_the_same_number_both_ways_length_normalised_too(here, there):
    _, results = there
    ours = here["tiny_choices"]
    assert ours["value"]["value"] == results["tiny_choices"]["acc,none"]
    assert ours["further"]["acc_norm"]["value"] == results["tiny_choices"]["acc_norm,none"] > 0.25


@pytest.mark.nightly
def test_perplexity_is_the_harness_s_alone(there):
    _, results = there
    assert 1 < results["tiny_text"]["bits_per_byte,none"] < 8
    with pytest.raises(UsageError, match="no answers; `decodebench lm-eval` runs it"):
        all_plugins().task("lm-eval:tiny_text,include_path=.")


@pytest.mark.nightly
def test_results_of_the_wrapper_are_imported_as_runs_of_the_backend(there, cli, tmp_path):
    folder, results = there
    assert cli("collate", tmp_path, "--import", *folder.rglob("results_*.json")).code == 0
    sql = "select backend, model, quantisation, device, task, accuracy, options from run_metrics order by task"
    rows = cli("query", sql, tmp_path, "--json").rows
    assert [row[:6] for row in rows] == [
        ["llama-cpp", "tiny:target", "f32", "cpu", task, results[task][metric]]
        for task, metric in (("tiny_choices", "acc,none"), ("tiny_numbers", "exact_match,flexible-extract"))
    ]
    assert all("n_threads" in str(row[6]) for row in rows)


@pytest.fixture(scope="module")
def model(cache):
    from decodebench.plugins.lm_eval.model import DecodebenchLM

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DECODEBENCH_CACHE", str(cache))
        made = DecodebenchLM(backend="llama-cpp", model="tiny:target", quantisation="f32", n_threads=1)
    yield made
    made.close()


def asked(kind, *arguments):
    from lm_eval.api.instance import Instance

    return [Instance(kind, {}, each, at, ("t", at, 1)) for at, each in enumerate(arguments)]


def test_a_text_in_windows_is_scored_like_the_sum_of_its_parts(model):
    text = "Anna has 12 apples."
    (whole,) = model.loglikelihood_rolling(asked("loglikelihood_rolling", (text,)), disable_tqdm=True)
    ((first, _),) = model.loglikelihood(asked("loglikelihood", ("", text)), disable_tqdm=True)
    ((start, _), (end, _)) = model.loglikelihood(
        asked("loglikelihood", ("", "Anna has"), ("Anna has", " 12 apples.")), disable_tqdm=True
    )
    assert whole == pytest.approx(first, abs=1e-6)
    assert whole != pytest.approx(start + end, abs=1e-9)  # "Anna has" alone is not given the begin token


@pytest.mark.nightly
def test_an_interrupted_run_goes_on_from_the_request_cache_and_a_dead_engine_is_an_error(there, cache, tmp_path):
    from lm_eval.api.model import CachingLM

    from decodebench.plugins.lm_eval.model import DecodebenchLM

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DECODEBENCH_CACHE", str(cache))
        lm = DecodebenchLM(backend="llama-cpp", model="tiny:target", quantisation="f32", n_threads=1)
    caching = CachingLM(lm, str(tmp_path / "answers.db"))
    pairs = asked("loglikelihood", ("Answer:", " 12"), ("Answer:", " 13"))
    before = caching.loglikelihood(pairs)
    newest = max(psutil.Process().children(recursive=True), key=psutil.Process.create_time)
    assert newest.cmdline()[-1] == WORKER
    newest.kill()
    assert caching.loglikelihood(pairs) == before
    with pytest.raises(BackendError, match="died of SIGKILL"):
        caching.loglikelihood(asked("loglikelihood", ("Answer:", " 14")))
    caching.dbdict.close()
    lm.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "tiny:target"}, "backend=NAME,model=NAME"),
        ({"backend": "lama-cpp", "model": "tiny:target"}, "did you mean 'llama-cpp'"),
        ({"backend": "llama-cpp", "model": "tiny:target", "threads": 2}, "threads"),
        ({"backend": "llama-cpp", "model": "tiny:target", "batch_size": "auto"}, "--batch_size auto: give a number"),
    ],
)
def test_wrong_model_arguments_are_named(arguments, message):
    from decodebench.plugins.lm_eval.model import DecodebenchLM

    with pytest.raises(UsageError, match=message):
        DecodebenchLM(**arguments)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("lm-eval", "write lm-eval:TASK"),
        ("lm-eval:tiny_choices,shots=2", "num_fewshot=N or include_path=FOLDER"),
        ("lm-eval:tiny_choices,num_fewshot=two", "num_fewshot=N or include_path=FOLDER"),
        ("lm-eval:tiny_choices,include_path=nowhere", "include_path = nowhere"),
        pytest.param(  # reads the harness's own thousands of tasks
            "lm-eval:no_such_task", "lm-eval has no task 'no_such_task'", marks=pytest.mark.nightly
        ),
    ],
)
def test_wrong_tasks_are_named(task, message):
    with pytest.raises(UsageError, match=message):
        all_plugins().task(task)


@pytest.mark.nightly
def test_examples_and_their_number_are_the_harness_s(there):
    folder, _ = there
    (file,) = folder.rglob("samples_tiny_choices_*.jsonl")
    theirs = [json.loads(line)["arguments"]["gen_args_0"]["arg_0"] for line in file.read_text().splitlines()]
    task = all_plugins().task("lm-eval:tiny_choices,include_path=.")
    assert [sample.prompt for sample in task.samples(12, seed=3)] == theirs
    shots = all_plugins().task("lm-eval:tiny_choices,include_path=.,num_fewshot=2")
    assert shots.version != task.version
    first = next(shots.samples(1, seed=3)).prompt
    assert first.count("Question:") == 3 and theirs[0].count("Question:") == 2


def test_without_the_harness_the_message_says_what_installs_it(monkeypatch):
    from decodebench.plugins.lm_eval import problems

    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(problems, "version", missing)
    with pytest.raises(UsageError, match=r'not installed; pip install "decodebench\[lm-eval\]"'):
        problems.installed_version()


def test_windows_cover_every_token_once_and_are_as_full_as_can_be():
    from decodebench.core.measure.serving import rolling_windows

    for length, size in itertools.product(range(1, 30), (2, 3, 7)):
        tokens = list(range(100, 100 + length))
        windows = list(rolling_windows(tokens, 1, size))
        assert [token for window in windows for token in window.continuation_ids] == tokens
        assert all(len(window) <= size for window in windows) and windows[0].prompt_ids == (1,)
        assert all(len(window) == size for window in windows[1:])
