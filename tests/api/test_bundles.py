"""An experiment in one file: what is in it, what is not, and what a bad one can do."""

from __future__ import annotations

import getpass
import html
import io
import json
import platform
import re
import shutil
import tomllib
import zipfile
from pathlib import Path

import pytest

import decodebench
from decodebench import UsageError
from decodebench.collate.comparison.reproduction import reproduction
from decodebench.core.api.bundles.manifest import MANIFEST, PLAN, Manifest
from decodebench.core.api.bundles.pack import bundle
from decodebench.core.api.bundles.privacy import Cleaner
from decodebench.core.api.bundles.rerun import rerun
from decodebench.core.api.bundles.unpack import unpack
from decodebench.core.measure.machine.environment import hide
from decodebench.core.measure.output.folder import kept_plan
from decodebench.core.measure.plan import build
from decodebench.core.sdk.secrets import REMOVED

from ..at_night import at_night
from ..refusals import refused


@pytest.fixture(scope="module")
def packed(measured, tmp_path_factory):
    """A bundle of the measured experiment."""
    *_, folder = measured
    with decodebench.open(folder) as results:
        return bundle(results, tmp_path_factory.mktemp("bundle") / "x.zip")


def test_a_bundle_has_plan_logs_and_hashes_and_no_names(packed, measured):
    experiment, _, folder = measured
    manifest = packed.manifest
    assert manifest.experiment == experiment.name and manifest.hosts == (hide(platform.node()),)
    assert [len(cell.outputs) for cell in manifest.cells.values()] == [1, 1]
    assert {cell.model for cell in manifest.cells.values()} == {"tiny:draft"}
    assert sum(name.startswith("raw/") for name in manifest.files) == 4
    with zipfile.ZipFile(packed.path) as archive:
        content = {name: archive.read(name).decode() for name in archive.namelist()}
    assert set(content) == {*manifest.files, MANIFEST}
    for text in content.values():
        assert not re.search(rf'"{re.escape(platform.node())}"', text) and str(Path.home()) + "/" not in text
    machine = json.loads(content["environment.json"])["environment"]
    assert (machine["hostname"], machine["username"]) == (hide(platform.node()), hide(getpass.getuser()))
    steps = [line for log in (folder / "raw").rglob("*.jsonl") for line in log.read_text().splitlines()[1:]]
    kept = [line for name in manifest.files if name.startswith("raw/") for line in content[name].splitlines()[1:]]
    assert sorted(steps) == sorted(kept)


@pytest.mark.nightly
def test_a_bundle_that_is_measured_again_gives_the_same_outputs(packed, tmp_path):
    done = rerun(packed.path, tmp_path / "again")
    made = done.reproduction
    assert (done.experiment.report.done, done.experiment.report.failed) == (4, [])
    assert made.is_same_host and [cell.outputs for cell in made.cells] == ["same", "same"]
    assert made.cells[0].ratio == "baseline" and made.cells[1].change.low is not None
    assert rerun(packed.path, tmp_path / "again").experiment.report.kept == 4
    with decodebench.open(tmp_path / "again") as results:
        assert results.experiments == [f"{packed.manifest.experiment}.rerun", packed.manifest.experiment]
    log = next(log for log in (tmp_path / "again" / "raw").rglob("*.jsonl") if '.rerun"' in log.read_text())
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    sample = next(line for line in lines if line["type"] == "sample" and not line.get("is_warmup"))
    sample["output_ids"][0] += 1
    log.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    with decodebench.open(tmp_path / "again") as results:
        names = (made.experiment, made.again)
        cells = reproduction(results.store, *names, is_same_host=True).cells
    assert sorted(cell.outputs for cell in cells) == ["differ", "same"]
    with refused("path-taken"):
        shutil.copytree(tmp_path / "again" / "raw", tmp_path / "other" / "raw")
        rerun(packed.path, tmp_path / "other")


RUN = {"timeout_s": 7200.0, "interleave": "rounds", "restart_server": True, "memory_limit_bytes": 2**36}
PROBLEMS = '{"prompt": "one", "reference": "1"}\n{"prompt": "two", "reference": "2"}\n'


@pytest.fixture
def problems(plugins, tmp_path, monkeypatch):
    """A home folder with a file of problems, which a plan names by ``~``."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    file = tmp_path / "home" / "my problems.jsonl"
    file.parent.mkdir()
    file.write_text(PROBLEMS)
    return file


def measure(folder, **settings):
    small = {"samples": 2, "warmup": 0, "max_new_tokens": 4, "name": "own"}
    small |= {} if "max_rounds" in settings else {"rounds": 1}
    options = {"step_s": [0.0, 0.001]}
    where = {"backends": "faulty", "model": "tiny:draft", "quantisations": "f32"}
    return decodebench.run(**where, options=options, **{**small, **settings}, output=folder)


@pytest.mark.parametrize(
    "place", at_night(["~/my problems.jsonl", "{home}/my problems.jsonl?scorer=exact"], but=["~/my problems.jsonl"])
)
def test_a_rerun_has_the_settings_of_the_run_and_the_problems_of_its_file(problems, tmp_path, place):
    task = "file:" + place.format(home=problems.parent)
    first = measure(tmp_path / "o", task=task, **RUN)
    assert first.report.failed == []
    with decodebench.open(tmp_path / "o") as results:
        packed = bundle(results, tmp_path / "x.zip")
    assert packed.missing == () and "inputs/task/my problems.jsonl" in packed.manifest.files
    with zipfile.ZipFile(packed.path) as archive:
        written = tomllib.loads(archive.read(PLAN).decode())
    assert {name: written[name] for name in RUN} == RUN
    with decodebench.open(tmp_path / "o") as results:
        page = results.report(to=tmp_path / "p.html", figures=["summary_stats"]).read_text(encoding="utf-8")
        results.slides(to=tmp_path / "s.pdf")
    deck = json.loads((tmp_path / "s-slides" / "deck.json").read_text(encoding="utf-8"))
    (shown,) = re.findall(r"<pre><code>(name = .*?)</code>", page, re.DOTALL)
    for plan in (html.unescape(shown), deck["reproduce"]):
        assert {name: tomllib.loads(plan)[name] for name in RUN} == RUN, "page and slides have them, too"
    assert written["workload"]["task"].startswith("file:inputs/task/my problems.jsonl")
    problems.unlink()
    done = rerun(packed.path, tmp_path / "again")
    assert (done.experiment.report.done, done.experiment.report.failed) == (2, [])
    assert [cell.outputs for cell in done.reproduction.cells] == ["same", "same"]
    assert kept_plan(tmp_path / "again", "own.rerun").settings == RUN
    # What was unpacked and then changed is not what the bundle measured.
    unpacked = tmp_path / "again" / "inputs" / "task" / "my problems.jsonl"
    unpacked.write_text(PROBLEMS.replace("two", "three"))
    with refused("bundle-differs"):
        rerun(packed.path, tmp_path / "again")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param(None, "no file", marks=pytest.mark.nightly),
        pytest.param(PROBLEMS.replace("two", "three"), "has changed since", marks=pytest.mark.nightly),
        (PROBLEMS.replace("two", "hf_hunter2hunter2hunter2"), "looks like a secret"),
    ],
)
def test_a_file_that_is_gone_another_or_secret_is_named_and_not_packed(problems, tmp_path, content, why):
    if "secret" in why:
        problems.write_text(content)
    measure(tmp_path / "o", task="file:~/my problems.jsonl")
    problems.unlink()
    if content is not None:
        problems.write_text(content)
    with decodebench.open(tmp_path / "o") as results:
        packed = bundle(results, tmp_path / "x.zip")
    (line,) = packed.missing
    assert str(problems) in line and why in line
    assert not [name for name in packed.manifest.files if name.startswith("inputs/")]


@pytest.mark.nightly
def test_a_trace_in_the_home_folder_is_replayed_by_the_rerun(problems, tmp_path):
    trace = problems.with_name("t.jsonl")
    lines = [{"timestamp": at, "input_length": 12, "output_length": 4} for at in (0, 100, 200)]
    trace.write_text("".join(json.dumps(line) + "\n" for line in lines))
    matrix = {"backends": "llama-cpp", "model": "tiny:draft", "quantisations": ["f32", "q8_0"]}
    work = {"trace": "~/t.jsonl", "samples": 3, "warmup": 0, "rounds": 2, "interleave": "rounds"}
    assert decodebench.run(**matrix, **work, output=tmp_path / "o").report.failed == []
    with decodebench.open(tmp_path / "o") as results:
        packed = bundle(results, tmp_path / "x.zip")
    trace.unlink()
    done = rerun(packed.path, tmp_path / "again")
    assert done.experiment.report.failed == []
    assert [cell.outputs for cell in done.reproduction.cells] == ["same", "same"]


@pytest.mark.nightly
def test_a_rerun_looks_after_each_round_as_the_run_did(plugins, tmp_path):
    work = {"task": "tiny-gsm", "until_ci": 0.5, "max_rounds": 3}
    measure(tmp_path / "o", **work)
    with decodebench.open(tmp_path / "o") as results:
        packed = bundle(results, tmp_path / "x.zip")
    with zipfile.ZipFile(packed.path) as archive:
        written = tomllib.loads(archive.read(PLAN).decode())
    assert (written["until_ci"], written["max_rounds"]) == (0.5, 3) and "rounds" not in written
    build(written, "bundle")


SECRETS = [
    "https://user:hunter2hunter2@host/v1",
    "https://host/v1?api_key=hunter2hunter2",
    "Authorization: Bearer hunter2hunter2hunter2",
    "hf_hunter2hunter2hunter2",
    "--api-key=hunter2hunter2",
    "tgi --hf-token hunter2",
    {"token": "hunter2", "command": ["tgi", "--auth-token", "hunter2"]},
]


def test_what_looks_like_a_secret_is_replaced_and_counted(monkeypatch):
    monkeypatch.setenv("MY_SERVICE_TOKEN", "correct-horse-battery")
    monkeypatch.setenv("service_key_2", "correct-horse-staple")
    cleaner = Cleaner(anonymise=False)
    line = {"type": "run", "options": {"api_key": "hunter2", "hf_token": "hunter2", "n": 2, "urls": SECRETS}}
    line["x"] = "a correct-horse-battery and a correct-horse-staple"
    cleaned = cleaner.line(json.dumps(line).encode()).decode()
    assert "hunter2" not in cleaned and "horse" not in cleaned
    assert cleaned.count(REMOVED) == cleaner.secrets >= len(SECRETS) + 4
    prose = json.dumps({"type": "sample", "text": "the bearer of the secret: a password, max_new_tokens = 3"}).encode()
    assert cleaner.line(prose) == prose


def forged(packed, change):
    """Return a bundle whose files were changed, as bytes by name."""
    with zipfile.ZipFile(packed.path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    change(content)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return made.getvalue()


def placed(name):
    def change(content):
        manifest = Manifest.model_validate_json(content[MANIFEST])
        files = {**manifest.files, name: manifest.files[PLAN]}
        content[MANIFEST] = manifest.model_copy(update={"files": files}).model_dump_json().encode()
        content[name] = content[PLAN]

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (placed("../outside.jsonl"), "outside.jsonl"),
        (placed("/etc/x.jsonl"), "/etc/x.jsonl"),
        (placed("raw/../../x.jsonl"), "x.jsonl"),
        (placed("raw/a/.hidden.jsonl"), ".hidden.jsonl"),
        (placed("inputs/task/../../x"), "x"),
        (placed("inputs/task/.bashrc"), ".bashrc"),
        (placed("inputs/x.toml"), "x.toml"),
        (lambda content: content.update({"raw/a/more.jsonl": b"x"}), "differ"),
        (lambda content: content.update({PLAN: content[PLAN] + b"# more"}), "damaged or was changed"),
        (lambda content: content.update({PLAN: content[PLAN][:-1]}), "damaged or was changed"),
        (lambda content: content.pop(PLAN), "differ"),
        (lambda content: content.pop(MANIFEST), "is not a bundle"),
        (lambda content: content.update({MANIFEST: b'{"format": 1}'}), "field"),
        (lambda content: content.update({MANIFEST: b"[" * 10_000}), "field"),
    ],
)
def test_a_forged_bundle_is_refused_and_leaves_nothing(packed, tmp_path, change, words):
    (tmp_path / "bad.zip").write_bytes(forged(packed, change))
    with pytest.raises(UsageError, match=words):
        unpack(tmp_path / "bad.zip", tmp_path / "new")
    assert [file.name for file in tmp_path.iterdir()] == ["bad.zip"]


@pytest.mark.parametrize("end", [0, 10, -30])
def test_what_is_no_zip_file_is_refused(packed, tmp_path, end):
    (tmp_path / "bad.zip").write_bytes(packed.path.read_bytes()[:end])
    with refused("bundle-damaged"):
        unpack(tmp_path / "bad.zip", tmp_path / "new")
