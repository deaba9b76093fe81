"""An experiment in one file: what is in it, what is not, and what a bad one can do."""

from __future__ import annotations

import getpass
import io
import json
import platform
import re
import shutil
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
from decodebench.core.sdk.secrets import REMOVED

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
