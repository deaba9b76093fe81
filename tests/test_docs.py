"""What the documentation shows is run as it stands there."""

from __future__ import annotations

import ast
import functools
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .plugin_folder import decoder

ROOT = Path(__file__).parent.parent
GENERATED = {"cli.md": "command_reference.py", "api.md": "api_reference.py"}  # pages by the script that prints them
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *(page for page in sorted((ROOT / "docs").glob("*.md")) if page.name not in GENERATED),
    ROOT / "plugins" / "reference" / "MODEL_CARD.md",
]

EMPTY = "def decodebench_sweeps():\n    return []\n"

TESTED = {
    ("benchmark_model.md", "toml", 1),  # below
    ("config_file.md", "toml", 1),  # below
    ("conformance.md", "python", 2),  # below; the second is that of the twins
    ("contributing.md", "python", 1),  # tests/test_contributing.py adds a setting in the same words
    ("draft_target.md", "python", 1),  # tests/plugins/draft_target/test_server.py asks a server in the same words
    ("plans.md", "toml", 2),  # below
    ("plugins.md", "python", 3),  # below
    ("plugins.md", "toml", 2),  # below
    ("python.md", "python", 5),  # tests/api/test_examples.py
    ("servers.md", "toml", 1),  # tests/test_servers.py
    ("slides.md", "typst", 1),  # tests/viz/test_slides.py
    ("tutorial.md", "python", 7),  # tests/test_tutorial.py
    ("tutorial.md", "toml", 1),  # tests/test_tutorial.py
    ("versioning.md", "python", 1),  # below
}


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def install(folder: Path, name: str, code: str) -> dict[str, str]:
    """Put a module and its entry point on the path, as an installed distribution would."""
    (folder / f"{name}.py").write_text(code)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[decodebench]\n{name} = {name}\n")
    return {"PYTHONPATH": str(folder)}


@pytest.mark.nightly
def test_the_shortest_backend_runs(cli, tmp_path):
    page = ROOT / "docs" / "plugins.md"
    code, *_ = blocks(page, "python")
    environment = install(tmp_path, "my_decoder", code)
    command = re.search(r"`decodebench (run -b parrot [^`]+)`", page.read_text(encoding="utf-8"))
    assert command is not None
    small = ["--samples", "2", "--rounds", "2", "--max-new-tokens", "8", "-o", tmp_path / "o", "--json"]
    ended = cli(*shlex.split(command[1]), *small, env=environment)
    assert ended.code == 0, ended.err
    backends = [row["cell"]["backend"] for row in ended.json["comparison"]["rows"]]
    assert sorted(backends) == ["parrot", "transformers"]


def test_the_plan_of_the_page_about_models_is_valid(cli, tmp_path):
    (plan,) = blocks(ROOT / "docs" / "benchmark_model.md", "toml")
    (tmp_path / "plan.toml").write_text(plan)
    ended = cli("run", tmp_path / "plan.toml", "--dry-run", "--no-probe", "--json")
    assert ended.code == 0, ended.err
    assert len(ended.json["cells"]) == 4


def test_the_plans_of_the_plans_page_have_as_many_cells_as_it_says(cli, tmp_path):
    page = ROOT / "docs" / "plans.md"
    counts = re.findall(r"This plan has (\d+)", page.read_text(encoding="utf-8"))
    for plan, count in zip(blocks(page, "toml"), counts, strict=True):
        (tmp_path / "plan.toml").write_text(plan)
        ended = cli("run", tmp_path / "plan.toml", "--dry-run", "--no-probe", "--json")
        assert ended.code == 0, ended.err
        assert len(ended.json["cells"]) == int(count)


@pytest.mark.nightly
def test_the_figure_of_the_plugin_page_draws(cli, tmp_path):
    _, code, _ = blocks(ROOT / "docs" / "plugins.md", "python")
    environment = install(tmp_path, "my_figure", code)
    environment["PYTHONPATH"] += f":{cli.environment['PYTHONPATH']}"
    run = ["run", "-b", "faulty", "-m", "tiny:draft", "--task", "tiny-gsm", "--samples", 2, "--rounds", 1]
    assert cli(*run, "-o", tmp_path / "o", env=environment).code == 0
    drawn = cli("plot", tmp_path / "o", "--figure", "token_counts", "--format", "svg", "--json", env=environment)
    assert drawn.code == 0, drawn.err
    assert "output tokens" in Path(drawn.json[0]).read_text()


def test_the_log_format_of_the_plugin_page_reads_reports(tmp_path):
    *_, code = blocks(ROOT / "docs" / "plugins.md", "python")
    written: dict[str, Any] = {}
    exec(compile(code, "plugins.md", "exec"), written)
    (parser,) = (found() for found in written["decodebench_log_parsers"]())
    report = {"engine_name": "mine", "model": {"path": "m", "threads": 4}, "generated": 100, "elapsed_ms": 2500}
    file = tmp_path / "report.json"
    file.write_text(json.dumps([report, report | {"elapsed_ms": "N/A", "ttft_ms": {"mean": 12.5}}]))
    assert parser.matches(file, file.read_bytes())
    whole, odd = parser.read(file)
    assert (whole.backend, whole.model, whole.options) == ("mine", "m", {"threads": 4})
    assert (whole.totals.output_tokens, whole.totals.wall_s, whole.extra) == (100, 2.5, {})
    assert (odd.totals.wall_s, odd.extra["elapsed_ms"]) == (None, "N/A")
    assert odd.settings == {"published_mean_ttft_ms": "12.5"}


def test_the_class_of_the_conformance_page_is_a_test_per_check(tmp_path):
    code, own = blocks(ROOT / "docs" / "conformance.md", "python")
    assert own == (ROOT / "tests" / "conformance_plugin" / "twin_checks.py").read_text()
    backend, *_ = blocks(ROOT / "docs" / "plugins.md", "python")
    environment = install(tmp_path, "my_plugin", f"{backend}\n\nMyBackend = Parrot\n")
    (tmp_path / "test_it.py").write_text(code)
    listed = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "test_it.py"],
        capture_output=True, text=True, cwd=tmp_path, env={**os.environ, **environment},
    )  # fmt: skip
    assert listed.returncode == 0, listed.stdout
    assert "test_it.py::TestMyBackend::test_greedy_is_deterministic" in listed.stdout


def test_the_config_of_its_page_is_read(cli, tmp_path):
    (tmp_path / "config.toml").write_text(*blocks(ROOT / "docs" / "config_file.md", "toml"))
    shown = cli("run", "-b", "transformers", "-m", "tiny:draft", "--show-settings", "--json").json
    from_file = {row["setting"]: row["value"] for row in shown if row["from"] == "config file"}
    assert from_file == {"rounds": 10, "output": "/data/results", "wait_idle": True}
    assert cli("report", "--help").code == 0
    assert "my-server" in {backend["name"] for backend in cli("backends", "--json").json}


def command_lines() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8") if page.is_file() else ""
        inline = re.findall(r"`(decodebench [a-z-][^`\n]*)`", text)
        listed = (
            [line.split("  #")[0] for block in blocks(page, "console") for line in block.splitlines()] if text else []
        )
        lines = inline + [line for line in listed if line.startswith("decodebench ")]
        found += [(page.name, line.strip()) for line in lines]
    return found


@pytest.fixture(scope="module")
def help_of(cli_for, tmp_path_factory):
    """The help of a command, asked for once."""
    cli = cli_for(tmp_path_factory.mktemp("help"))
    return functools.cache(lambda *command: cli(*command, "--help"))


@pytest.mark.parametrize(("page", "line"), command_lines())
def test_commands_in_the_documentation_exist(help_of, page, line):
    words = shlex.split(line)[1:]
    command = next((number for number, word in enumerate(words) if re.fullmatch(r"[a-z][a-z-]*", word)), len(words))
    parts = [(words[:command], [])]  # flags before the command are those of decodebench itself
    names = words[command : command + 1]
    if names == ["plugins"] and len(words) > command + 1 and not words[command + 1].startswith("-"):
        names = words[command : command + 2]
    parts.append((words[command + len(names) :], names))
    for arguments, of in parts:
        shown = help_of(*of)
        assert shown.code == 0, f"{page}: {line}"
        flags = {word.split("=")[0] for word in arguments if re.match(r"--?[a-z]", word)}
        missing = {flag for flag in flags if not re.search(rf"(?<![\w-]){flag}(?![\w-])", shown.out)}
        assert not missing, f"{page}: {line}"


def test_the_pages_of_metrics_and_errors_are_what_their_tables_say():
    from decodebench.core import errors
    from decodebench.core.records import metrics

    for page, table in (("metrics.md", metrics), ("errors.md", errors)):
        assert (ROOT / "docs" / page).read_text(encoding="utf-8") == table.markdown()


def test_codes_of_errors_are_in_the_table_and_none_in_it_is_without_use():
    from decodebench.core.errors import CODES

    files = [file for room in ("core", "collate", "viz", "plugins") for file in (ROOT / room).rglob("*.py")]
    text = "".join(file.read_text(encoding="utf-8") for file in files)
    used = set(re.findall(r'\bcode(?:: str)? ?= ?"([a-z-]+)"', text)) | set(re.findall(r'return "([a-z-]+)", ', text))
    assert used >= set(CODES) and set(re.findall(r'code="([a-z-]+)"', text)) <= set(CODES)


def test_what_is_refused_has_a_code_of_its_own():
    """The class of such an error says no more than that something is wrong."""
    without = {
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for room in ("core", "collate", "viz", "plugins")
        for file in (ROOT / room).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("UsageError", "ModelError")
        and not {word.arg for word in node.keywords} & {"code", None}
    }
    assert without == set()


def test_the_hooks_page_is_what_the_hookspecs_say():
    import decodebench
    from decodebench.core.host.hook_reference import markdown

    assert (ROOT / "docs" / "hooks.md").read_text(encoding="utf-8") == markdown(decodebench)


@pytest.mark.parametrize("page", GENERATED)
def test_a_generated_page_is_what_the_code_says(page):
    """In a process of its own: plugins of other tests have commands too."""
    made = subprocess.run([sys.executable, ROOT / "docs" / GENERATED[page]], capture_output=True, check=True)
    assert (ROOT / "docs" / page).read_bytes() == made.stdout


def test_the_readme_stays_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def test_the_versions_page_names_a_version_that_is_accepted(cli, tmp_path):
    (code,) = blocks(ROOT / "docs" / "versioning.md", "python")
    environment = install(tmp_path, "stated", code + "from decodebench import hookimpl\n@hookimpl\n" + EMPTY)
    (stated,) = [plugin for plugin in cli("plugins", "--json", env=environment).json if plugin["name"] == "stated"]
    assert (stated["status"], stated["api"]) == ("ok", ">=3,<4")


def test_the_config_of_the_plugin_page_is_read(cli, tmp_path):
    (tmp_path / "config.toml").write_text("\n".join(blocks(ROOT / "docs" / "plugins.md", "toml")))
    (tmp_path / "my_decoder.py").write_text(decoder("mine"))
    listed = cli("backends")
    assert "plugin 'my-engine' failed to load: /path/to/venv/bin/python: " in listed.err
    assert "plugin 'window_attention' failed to load" in listed.err
    assert "mine" in listed.out


def test_every_block_of_code_has_a_test():
    """Console blocks are checked line by line; whoever adds a block in another language adds a test of it."""
    found = {
        (page.name, language, len(blocks(page, language)))
        for page in PAGES
        for language in ("python", "toml", "typst")
        if blocks(page, language)
    }
    assert found == TESTED


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_every_page_is_on_the_site():
    """`make docs-site`, part of `make nightly`, builds it and checks links and anchors."""
    listed = re.findall(r"^ +- .+: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    pages = {str(page.relative_to(ROOT)) for page in (*PAGES, *(ROOT / "docs" / name for name in GENERATED))}
    assert sorted(listed) == sorted(pages | {"CHANGELOG.md", "examples/tiny_models/README.md"})


@pytest.mark.nightly
def test_what_was_written_from_the_hooks_page_works(cli, tmp_path):
    (tmp_path / "log.tsv").write_text("my-engine\t4\nhello\t8\t0.8\nyou\t3\t0.4\n")
    with_plugin = ["--plugin", ROOT / "tests" / "one_off_plugin" / "from_the_page.py"]
    folder = tmp_path / "o"
    assert "1 added" in cli(*with_plugin, "collate", folder, "--import", tmp_path / "log.tsv").out
    (finding,) = cli(*with_plugin, "findings", folder, "--json").json["findings"]
    assert (finding["check"], [row["sample"] for row in finding["rows"]]) == ("few-tokens", [1])
    (figure,) = cli(*with_plugin, "plot", folder, "--figure", "my_speed", "--json").json
    assert Path(figure).is_file()
    run = ["run", "-b", "transformers", "-m", "tiny:draft", "--task", "my-sums", "--samples", 2, "--rounds", 1]
    (row,) = cli(*with_plugin, *run, "-o", tmp_path / "p", "--json").json["comparison"]["rows"]
    assert row["accuracy"]["task"] == "my-sums 1"
