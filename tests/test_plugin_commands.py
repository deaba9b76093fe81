"""`decodebench plugins`: show, new, install and uninstall, in environments of every kind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from decodebench.core.cli.plugins import kinds
from decodebench.core.host import provenance

from .at_night import a_few
from .plugin_folder import decoder, distribution

ROOT = Path(__file__).parent.parent
KINDS = tuple(kinds.KINDS)


def test_one_plugin_is_shown_whole(cli, tmp_path):
    distribution(tmp_path, "shown", "4", shown=decoder("shown", "4.5"))
    environment = {"PYTHONPATH": str(tmp_path)}
    shown = cli("plugins", "show", "shown", env=environment).out
    for words in ("shown 4", "available, version 4.5", "shown:shown", "decodebench_backends"):
        assert words in shown
    assert cli("plugins", "show", "shown:shown", "--json", env=environment).json["version"] == "4"
    ended = cli("plugins", "show", "shwn", env=environment)
    assert ended.code == 2
    assert "unknown plugin 'shwn'; did you mean 'shown'?" in ended.err


@pytest.mark.parametrize("kind", a_few(3, KINDS))
def test_a_new_plugin_passes_the_linters(cli, tmp_path, kind):
    made = cli("plugins", "new", "my-own-decoder", "--kind", kind, "--json", cwd=tmp_path)
    assert made.code == 0, made.err
    assert ".github/workflows/test.yml" in made.json["files"]
    folder = tmp_path / "my-own-decoder"
    for command in (["ruff", "check", "."], ["ruff", "format", "--check", "."]):
        ended = subprocess.run([sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.nightly
@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_is_typed(cli, tmp_path, kind):
    assert cli("plugins", "new", "my-typed", "--kind", kind, cwd=tmp_path).code == 0
    (tmp_path / "types").mkdir()
    (tmp_path / "types" / "decodebench").symlink_to(ROOT)  # an editable install's finder means nothing to mypy
    ended = subprocess.run(
        [sys.executable, "-m", "mypy", "--follow-imports=silent"],
        cwd=tmp_path / "my-typed",
        env={**os.environ, "MYPYPATH": str(tmp_path / "types")},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout


AT_NIGHT = ("backend", "prompt-lookup", "figure", "finding", "launcher", "server", "parser")


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[pytest.mark.nightly, pytest.mark.timeout(1500)]) if kind in AT_NIGHT else kind
        for kind in KINDS
    ],
)
def test_what_is_written_is_green_as_written(cli, tmp_path, kind):
    assert cli("plugins", "new", "my-first", "--kind", kind, cwd=tmp_path).code == 0
    prefix = Prefix(tmp_path / "env")
    folder, python = tmp_path / "my-first", prefix.folder / "bin" / "python"
    content = tomllib.loads((folder / "pyproject.toml").read_text())
    test = content["project"]["optional-dependencies"]["test"]
    assert "pytest" in {Requirement(text).name for text in test}
    needs = ["--no-deps", "--no-build-isolation", "--no-index"]  # all is there already
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", *needs, "-e", str(folder)]
    subprocess.run(pip, check=True, capture_output=True)
    ended = subprocess.run([str(python), "-m", "pytest", "-q"], cwd=folder, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout
    if kind == "server":
        assert len((folder / "src" / "my_first" / "server.py").read_text().splitlines()) <= 110
    provided = json.loads(prefix("plugins", "show", "my-first", "--json").stdout)["provides"]
    assert provided == {kinds.KINDS[kind].hook: ["my-first"]}


@pytest.mark.parametrize(
    ("source", "asked"),
    [
        (
            {"url": "https://host/repo.git", "vcs_info": {"vcs": "git", "commit_id": "abc123"}},
            "decodebench[mlx] @ git+https://host/repo.git@abc123",
        ),
        ({"url": "file:///downloads/decodebench-3.1.whl", "archive_info": {}}, None),
        ({"url": "file:///checkouts/decodebench", "dir_info": {"editable": True}}, None),
        (None, "decodebench[mlx]>=3.1"),
    ],
)
def test_decodebench_is_asked_for_by_the_place_that_it_came_from(tmp_path, monkeypatch, source, asked):
    """A name alone is answered by whoever has it on an index."""
    distribution(tmp_path, "decodebench", "3.1")
    if source is not None:
        (tmp_path / "decodebench-3.1.dist-info" / "direct_url.json").write_text(json.dumps(source))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert provenance.own_requirement("mlx") == (asked or f"decodebench[mlx] @ {source['url']}")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("My-Decoder", "words of a-z and 0-9"),
        ("../elsewhere", "words of a-z and 0-9"),
        ("json", "'json'"),
        ("lambda", "'lambda'"),
        ("llama-cpp", "provides something of this name"),
        ("tiny-gsm", "provides something of this name"),
        ("pydantic", "a module 'pydantic' is installed already"),
        ("taken", "is not empty"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused(cli, tmp_path, name, words):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    ended = cli("plugins", "new", name, cwd=tmp_path)
    assert ended.code == 2
    assert words in ended.err and "Traceback" not in ended.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["taken"]


class Prefix:
    """An environment as one of the installers leaves it: their record lies in its root."""

    def __init__(self, folder: Path, record: str = "") -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        self.folder = folder
        (site,) = folder.glob("lib/python*/site-packages")
        paths = [path for path in sys.path if path.endswith("site-packages")]
        (site / "host.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in paths))
        if record:
            (folder / record).touch()
        distribution(site, "some-plugin", "1", some=decoder("some"))

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        python = self.folder / "bin" / "python"
        environment = {**os.environ, "PATH": f"{self.folder / 'bin'}:/usr/bin:/bin", "DECODEBENCH_CONFIG": "/none"}
        return subprocess.run(
            [str(python), "-m", "decodebench", *arguments], capture_output=True, text=True, env=environment, cwd="/"
        )


def test_pip_installs_into_an_environment(tmp_path):
    prefix = Prefix(tmp_path / "env")
    shown = prefix("plugins", "install", "new-plugin>=1", "-e", ".", "--dry-run", "--json")
    pip = ["-m", "pip", "--disable-pip-version-check"]
    assert json.loads(shown.stdout)["command"][1:] == [*pip, "install", "--editable", ".", "--", "new-plugin>=1"]
    removed = json.loads(prefix("plugins", "uninstall", "some", "--dry-run", "--json").stdout)
    assert removed["distribution"] == "some-plugin"
    assert removed["command"][1:] == [*pip, "uninstall", "--yes", "--", "some-plugin"]


@pytest.mark.parametrize(
    ("record", "install", "uninstall"),
    [
        (
            "uv-receipt.toml",
            "uv tool install decodebench --with 'new-plugin>=1' --with-editable .",
            "uv tool install decodebench",
        ),
        (
            "pipx_metadata.json",
            "pipx inject decodebench-dev -- 'new-plugin>=1' && pipx inject decodebench-dev --editable .",
            "pipx uninject decodebench-dev -- some-plugin",
        ),
    ],
)
def test_an_environment_of_another_program_is_left_to_it(tmp_path, record, install, uninstall):
    prefix = Prefix(tmp_path / "decodebench-dev", record)
    for arguments, command in ((["install", "new-plugin>=1", "-e", "."], install), (["uninstall", "some"], uninstall)):
        ended = prefix("plugins", *arguments)
        assert ended.returncode == 2
        assert ended.stderr.splitlines()[-1] == command
        assert not ended.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["install"], "nothing to install"),
        (["uninstall", "transformers"], "belongs to decodebench itself; DECODEBENCH_DISABLE_PLUGINS=transformers"),
        (["uninstall", "decodebench"], "belongs to decodebench itself"),
        (["uninstall", "nothing-there"], "unknown plugin 'nothing-there'"),
        (["instal", "x"], "unknown command 'instal' of `plugins`; did you mean 'install'?"),
    ],
)
def test_what_cannot_be_done_is_refused(cli, arguments, words):
    ended = cli("plugins", *arguments)
    assert ended.code == 2
    assert words in ended.err and "Traceback" not in ended.err


def test_an_install_that_fails_is_an_error(cli, tmp_path):
    ended = cli("plugins", "install", str(tmp_path / "nothing.whl"), env={"PIP_NO_INDEX": "1"})
    assert ended.code == 1
    assert "nothing was installed" in ended.err and "Traceback" not in ended.err
