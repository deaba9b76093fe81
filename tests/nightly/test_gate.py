"""Two versions of a plugin in environments of their own, measured in turn."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from decodebench.core.api.gate import side_of
from decodebench.core.isolation.worker_part import MODULES
from decodebench.core.records.store import Store

from ..plugin_folder import decoder, wheel, wheels_of_installed
from ..refusals import refused

pytestmark = pytest.mark.nightly
ROOT = Path(__file__).parents[2]
SMALL = ["-m", "tiny:draft", "--task", "tiny-gsm", "--samples", 4, "--max-new-tokens", 40, "--rounds", 4]
STEP = "                yield Step("
WAIT = "                time.sleep({seconds})\n"
BROKEN = decoder("slow").replace(STEP, "                raise RuntimeError('it is broken')\n" + STEP)


def slowed(seconds: float) -> str:
    return decoder("slow").replace(STEP, WAIT.format(seconds=seconds) + STEP).replace("\n", "import time\n\n", 1)


@pytest.fixture(scope="module")
def cli(cli_for, tmp_path_factory):
    home, index = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("index")
    wheels_of_installed(index, *MODULES)
    versions = {"1.0": slowed(0.002), "1.1": slowed(0.002), "2.0": slowed(0.004), "0.9": BROKEN}
    for version, code in versions.items():
        made = wheel(tmp_path_factory.mktemp("wheel"), "slow-plugin", version, slow=code)
        shutil.copy(made, index)
    made = cli_for(home)
    made.environment |= {"PYTHONPATH": "", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index)}
    made.home = home
    return made


def test_a_slower_version_trips_and_an_equal_one_passes(cli, tmp_path):
    gate = ["gate", "slow-plugin==1.0", "slow-plugin==2.0", "-b", "slow", *SMALL, "-o", tmp_path / "o", "--json"]
    ended = cli(*gate, "--summary", tmp_path / "summary.md")
    assert ended.code == 3, ended.out + ended.err
    base, new = ended.json["comparison"]["rows"]
    assert (base["cell"]["backend"], new["cell"]["backend"]) == ("base:slow", "new:slow")
    assert new["verdict"] == "slower" and new["ratio"]["value"] < 0.7 and new["rounds"] == 4
    assert (tmp_path / "summary.md").read_text() == ended.json["markdown"]
    assert "slow-plugin==2.0" in ended.json["markdown"] and len(ended.json["tripped"]) == 1
    with Store.open(tmp_path / "o") as store:
        sql = "SELECT count(DISTINCT block), count(block), list_sort(list(DISTINCT plugin)) FROM runs"
        assert store.query(sql)[1] == [(4, 8, ["slow-plugin 1.0", "slow-plugin 2.0"])]
    assert not list((cli.home / "data" / "environments").glob("gate-*"))
    assert not (cli.home / "data" / "interpreters.json").exists()
    gate[2] = "slow-plugin==1.1"
    ended = cli(*gate, "--fail-if-slower", "20%", "--fail-if-outputs-differ")
    assert ended.code == 0, ended.out + ended.err


@pytest.mark.parametrize(("base", "new"), [("0.9", "1.0"), ("0.9", "0.9")])
def test_a_side_that_fails_keeps_its_own_name_and_ends_with_code_1(cli, base, new, tmp_path):
    gate = ["gate", f"slow-plugin=={base}", f"slow-plugin=={new}", "-b", "slow", *SMALL, "-o", tmp_path / "o", "--json"]
    ended = cli(*gate)
    assert ended.code == 1, ended.out + ended.err
    table = [line.split(" | ") for line in ended.json["markdown"].splitlines() if line.startswith("| slow-plugin")]
    if base == new:
        assert table == [] and ended.json["comparison"] is None
        return
    rows = ended.json["comparison"]["rows"]
    assert [(row["cell"]["backend"], row["verdict"]) for row in rows] == [
        ("base:slow", "baseline"), ("new:slow", "not comparable"),
    ]  # fmt: skip
    assert [row[0] for row in table] == [f"| slow-plugin=={version}" for version in (base, new)]
    for version, row in zip((base, new), table, strict=True):
        assert (row[1] == "n/a", row[-1] == "0, 4 failed |") == (version == "0.9",) * 2
    assert "Gate tripped" in ended.json["markdown"] and len(ended.json["tripped"]) == 5


def test_what_cannot_be_installed_or_lacks_the_backend_is_refused(cli, tmp_path):
    for new, backend in (("slow-plugin==9", "slow"), ("slow-plugin==1.1", "fast")):
        ended = cli("gate", "slow-plugin==1.0", new, "-b", backend, *SMALL, "-o", tmp_path / "o")
        assert ended.code == 2 and "Traceback" not in ended.err
    assert not list((cli.home / "data" / "environments").glob("gate-*"))


def test_a_revision_is_told_from_a_requirement(tmp_path):
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"], ["tag", "v1"]):
        subprocess.run([*git, *command], check=True)
    side = side_of("v1", tmp_path)
    assert side.spec.startswith(f"git+file://{tmp_path}@") and side.text.startswith("v1 (")
    assert not side.is_host
    for text in ("engine==1.2", "--version", "pip"):
        assert side_of(text, tmp_path).spec == text and not side_of(text, tmp_path).is_host
    for text in ("decodebench==0.1", "decodebench[dflash]", "dist/decodebench-0.1.0-py3-none-any.whl", str(ROOT)):
        assert side_of(text, tmp_path).is_host
    assert not side_of("decodebench-ngram==1", tmp_path).is_host
    for text, place in (("nothing-here", tmp_path), ("v1", tmp_path / "nowhere")):
        with refused("unknown-name", text):
            side_of(text, place)


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout")
def test_two_revisions_of_decodebench_itself_run_their_own_code(cli_for, tmp_path):
    pytest.importorskip("llama_cpp", reason="llama.cpp is not installed")
    checkout = tmp_path / "checkout"
    git = ["git", "-C", str(checkout), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "clone", "-q", "--shared", str(ROOT), str(checkout)], check=True)
    code = checkout / "plugins" / "llama_cpp" / "backend.py"
    slow = code.read_text().replace("        check_prompts(batch)\n", "        __import__('time').sleep(0.2)\n", 1)
    assert slow != code.read_text()
    code.write_text(slow)
    subprocess.run([*git, "commit", "-q", "-a", "-m", "slower"], check=True)
    cli = cli_for(tmp_path)
    gate = ["gate", "HEAD~1", "HEAD", "-b", "llama-cpp", "-q", "f32", *SMALL, "-o", tmp_path / "o", "--json"]
    ended = cli(*gate, "--summary", tmp_path / "summary.md", "--fail-if-outputs-differ", cwd=checkout)
    assert ended.code == 3, ended.out + ended.err
    base, new = ended.json["comparison"]["rows"]
    assert new["verdict"] == "slower" and new["parity"]["verdict"] == "identical"
    assert "HEAD~1 (" in (tmp_path / "summary.md").read_text()
    ended = cli("gate", "HEAD", "HEAD", "-b", "lama-cpp", *SMALL, "-o", tmp_path / "o", cwd=checkout)
    assert ended.code == 2 and "did you mean 'llama-cpp'" in ended.err
