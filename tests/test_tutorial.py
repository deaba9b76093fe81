"""The tutorial, followed by a new user: its commands are typed in an empty directory, in the order of the page."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .test_docs import ROOT, blocks

pytest.importorskip("decodebench.testing")

PAGE = ROOT / "docs" / "tutorial.md"
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL))
NOT_RUN = ("twine ",)  # uploads
_PROGRAM = """#!{python}
import runpy, sys
sys.argv[0] = {name!r}
runpy.run_module({name!r}, run_name="__main__", alter_sys=True)
"""


class Shell:
    """A new user's shell: an empty directory, and an environment with decodebench, pip and pytest."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.home = folder / "home"
        self.home.mkdir()
        environment = folder / "env"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
        (site,) = environment.glob("lib/python*/site-packages")
        paths = [path for path in sys.path if path.endswith("site-packages")]
        (site / "host.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in paths))
        for name in ("decodebench", "pip", "pytest"):
            program = environment / "bin" / name
            program.write_text(_PROGRAM.format(python=environment / "bin" / "python", name=name))
            program.chmod(0o755)
        self.environment = {
            **{name: value for name, value in os.environ.items() if name != "COLUMNS"},
            "PATH": f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "DECODEBENCH_CACHE": str(cache),
            "DECODEBENCH_CONFIG": str(folder / "none"),
            "DECODEBENCH_DATA": str(folder / "data"),
            "DECODEBENCH_SAMPLES": "2",  # as a user's own settings would: the commands stay as they are
            "DECODEBENCH_ROUNDS": "2",
            "DECODEBENCH_MAX_NEW_TOKENS": "12",
            "PIP_NO_INDEX": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # pip's way to say: do not isolate, which would need an index
            "PIP_FIND_LINKS": str(self.home / "my-lookup" / "dist"),  # stands for the index that was uploaded to
        }

    def follow(self, section: str) -> str:
        """Type every command of a section; return what was printed."""
        found = re.findall(r"^```console\n(.*?)^```", SECTIONS[section], re.MULTILINE | re.DOTALL)
        lines = [line for block in found for line in block.splitlines() if not line.startswith(NOT_RUN)]
        script = "\n".join(["set -e", *lines])
        ended = subprocess.run(
            ["bash", "-c", script], cwd=self.home, env=self.environment, capture_output=True, text=True, timeout=1500
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout


@pytest.fixture(scope="module")
def shell(tmp_path_factory, cache):
    return Shell(tmp_path_factory.mktemp("tutorial"), cache)


@pytest.mark.nightly
def test_a_new_plugin_is_green_listed_and_compared(shell):
    printed = shell.follow("A toy: an n-gram decoder")
    assert re.search(r"\d+ passed", printed) and "failed" not in printed
    assert re.search(r"^ *my-decoder +autoregressive", printed, re.MULTILINE)
    assert re.search(r"^my-decoder none ", printed, re.MULTILINE) and "transformers float32" in printed


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_a_real_one_is_exact_and_published(shell):
    printed = shell.follow("A real one: prompt-lookup decoding")
    assert "failed" not in printed
    assert "tau" in printed
    assert "backends: my-lookup" in shell.follow("Publish it")


@pytest.mark.parametrize(
    ("section", "kind", "name"),
    [
        ("A toy: an n-gram decoder", "backend", "my-decoder"),
        ("A real one: prompt-lookup decoding", "prompt-lookup", "my-lookup"),
    ],
)
def test_the_code_shown_is_that_of_the_package(cli, tmp_path, section, kind, name):
    assert cli("plugins", "new", name, "--kind", kind, cwd=tmp_path).code == 0
    files = [file.read_text() for file in (tmp_path / name).rglob("*") if file.suffix in (".py", ".toml")]
    shown = re.findall(r"^```(?:python|toml)\n(.*?)^```", SECTIONS[section], re.MULTILINE | re.DOTALL)
    assert len(shown) >= 3
    for code in shown:
        assert any(code in text for text in files), code


def test_every_block_of_code_is_in_a_section_that_is_followed():
    assert sum(len(blocks(PAGE, language)) for language in ("python", "toml")) == sum(
        len(re.findall(r"^```(?:python|toml)\n", SECTIONS[section], re.MULTILINE)) for section in list(SECTIONS)[:2]
    )
