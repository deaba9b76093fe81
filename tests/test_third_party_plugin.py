"""A third party's plugin, built, installed into an environment of its own, used and removed; core is untouched."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

TESTS = Path(__file__).parent


class Environment:
    """A virtual environment that sees this one's packages and takes plugins of its own."""

    def __init__(self, folder: Path, cache: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        self.python = folder / "bin" / "python"
        ours = sysconfig.get_path("purelib")
        site = next(folder.glob("lib/python*/site-packages"))
        (site / "host.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
        self.environment = {**os.environ, "DECODEBENCH_CACHE": str(cache), "DECODEBENCH_CONFIG": str(folder / "none")}
        self.environment |= {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0"}  # pip's way to say: do not isolate
        self.environment.pop("PYTHONPATH", None)

    def pip(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "pip", "--python", str(self.python), *arguments]
        ended = subprocess.run(command, capture_output=True, text=True, env=self.environment, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr

    def install(self, source: Path, scratch: Path) -> None:
        """Build a wheel from a copy of the plugin's folder (builds leave files behind) and install it."""
        copy = shutil.copytree(source, scratch / source.name)
        self.pip("install", "--no-deps", "--no-build-isolation", "--no-index", "--quiet", str(copy))

    def decodebench(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [str(self.python), "-m", "decodebench", *map(str, arguments)]
        return subprocess.run(
            command, capture_output=True, text=True, env=self.environment, timeout=250, check=False, cwd="/"
        )

    def names(self, listing: str) -> list[str]:
        return [entry["name"] for entry in json.loads(self.decodebench(listing, "--json").stdout)]


@pytest.fixture(scope="module")
def environment(tmp_path_factory, cache):
    return Environment(tmp_path_factory.mktemp("third-party") / "venv", cache)


def test_a_plugin_is_installed_compared_drawn_and_removed(environment, tmp_path):
    assert "ngram" not in environment.names("backends")
    copy = shutil.copytree(TESTS / "third_party_plugin", tmp_path / "source")  # builds leave files behind
    came = environment.decodebench("plugins", "install", copy, "--json")
    assert came.returncode == 0, came.stderr
    assert [plugin["name"] for plugin in json.loads(came.stdout)["plugins"]] == ["ngram"]

    listed = {entry["name"]: entry for entry in json.loads(environment.decodebench("plugins", "--json").stdout)}
    assert listed["ngram"]["status"] == "ok"
    assert (listed["ngram"]["distribution"], listed["ngram"]["version"]) == ("decodebench-ngram", "1.2.3")
    assert "ngram" in environment.names("backends")

    checked = environment.decodebench("plugins", "check", "ngram", "-m", "tiny:draft", "--json")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    (report,) = json.loads(checked.stdout)
    assert {result["verdict"] for result in report["results"]} == {"passed", "skipped"}

    output = tmp_path / "output"
    arguments = ["-m", "tiny:draft", "--task", "tiny-gsm", "--samples", 3, "--max-new-tokens", 16, "--rounds", 2]
    run = environment.decodebench("run", "-b", "ngram", *arguments, "--set", "n=1,4", "-o", output, "--json")
    assert run.returncode == 0, run.stderr
    rows = json.loads(run.stdout)["comparison"]["rows"]
    assert [row["cell"]["backend"] for row in rows] == ["ngram", "ngram"]
    assert {row["cell"]["options"]["n"] for row in rows} == {"1", "4"}
    assert all(row["rounds"] == 2 and row["n"] == 6 for row in rows)

    drawn = environment.decodebench("plot", output, "--figure", "token_counts", "--json")
    assert drawn.returncode == 0, drawn.stderr
    assert Path(json.loads(drawn.stdout)[0]).stat().st_size > 5000

    gone = environment.decodebench("plugins", "uninstall", "ngram")
    assert gone.stdout.splitlines()[-1] == "removed decodebench-ngram with ngram", gone.stderr
    assert "ngram" not in environment.names("backends")


def test_bad_plugins_are_listed_with_their_reason_and_break_nothing(environment, tmp_path):
    environment.install(TESTS / "broken_plugin", tmp_path)
    try:
        listed = {entry["name"]: entry for entry in json.loads(environment.decodebench("plugins", "--json").stdout)}
        reasons = {name: listed[name]["reason"] for name in ("broken", "future", "misspelt")}
        why, _, place = reasons["broken"].rpartition(" ")
        assert why == "ModuleNotFoundError: No module named 'an_engine_that_is_not_installed'"
        assert place.endswith("decodebench_broken.py:3)")
        assert reasons["future"] == "asks for plugin API >=4, this decodebench offers 3.0"
        assert reasons["misspelt"].startswith(
            "unknown hook 'decodebench_backend'; did you mean 'decodebench_backends'?"
        )
        assert {listed[name]["status"] for name in reasons} == {"failed"}

        assert listed["clash"]["clashes"] == [
            "task 'tiny-gsm' is already provided by plugin 'reference'; this one is 'decodebench-broken:tiny-gsm'"
        ]
        assert environment.names("tasks").count("tiny-gsm") == 1
        assert "decodebench-broken:tiny-gsm" in environment.names("tasks")
        backends = environment.decodebench("backends")
        assert backends.returncode == 0
        assert "plugin 'broken' failed to load" in backends.stderr
    finally:
        environment.pip("uninstall", "--yes", "--quiet", "decodebench-broken")
