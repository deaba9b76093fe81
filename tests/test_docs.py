"""What the documentation shows is run as it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "plugins" / "reference" / "MODEL_CARD.md"]


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


def test_the_plugin_of_the_readme_runs(cli, tmp_path):
    page = ROOT / "README.md"
    (code,) = blocks(page, "python")
    environment = install(tmp_path, "my_decoder", code)
    command = re.search(r"`decodebench (run -b parrot [^`]+)`", page.read_text(encoding="utf-8"))
    assert command is not None
    small = ["--samples", "2", "--rounds", "2", "--max-new-tokens", "8", "-o", tmp_path / "o", "--json"]
    ended = cli(*shlex.split(command[1]), *small, env=environment)
    assert ended.code == 0, ended.err
    backends = [row["cell"]["backend"] for row in ended.json["comparison"]["rows"]]
    assert sorted(backends) == ["parrot", "transformers"]


def test_the_plan_of_the_readme_is_valid(cli, tmp_path):
    plan = next(block for block in blocks(ROOT / "README.md", "toml") if "[workload]" in block)
    (tmp_path / "plan.toml").write_text(plan)
    ended = cli("run", tmp_path / "plan.toml", "--dry-run", "--json")
    assert ended.code == 0, ended.err
    assert len(ended.json["cells"]) == 4


def test_the_figure_of_the_plugin_page_draws(cli, tmp_path):
    (code,) = blocks(ROOT / "docs" / "plugins.md", "python")
    environment = install(tmp_path, "my_figure", code)
    environment["PYTHONPATH"] += f":{cli.environment['PYTHONPATH']}"
    run = ["run", "-b", "faulty", "-m", "tiny:draft", "--task", "tiny-gsm", "--samples", 2, "--rounds", 1]
    assert cli(*run, "-o", tmp_path / "o", env=environment).code == 0
    drawn = cli("plot", tmp_path / "o", "--figure", "token_counts", "--format", "svg", "--json", env=environment)
    assert drawn.code == 0, drawn.err
    assert "output tokens" in Path(drawn.json[0]).read_text()


def command_lines() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8") if page.is_file() else ""
        inline = re.findall(r"`(decodebench [a-z][^`\n]*)`", text)
        listed = (
            [line.split("  #")[0] for block in blocks(page, "console") for line in block.splitlines()] if text else []
        )
        lines = inline + [line for line in listed if line.startswith("decodebench ")]
        found += [(page.name, line.strip()) for line in lines]
    return found


@pytest.mark.parametrize(("page", "line"), command_lines())
def test_commands_in_the_documentation_exist(cli, page, line):
    words = shlex.split(line)[1:]
    shown = cli(words[0], "--help")
    if len(words) > 1 and re.search(rf"^Commands:\n(?:.*\n)*  {re.escape(words[1])} ", shown.out, re.MULTILINE):
        shown = cli(*words[:2], "--help")
    assert shown.code == 0, f"{page}: {line}"
    flags = {word.split("=")[0] for word in words[1:] if re.match(r"--?[a-z]", word)}
    missing = {flag for flag in flags if not re.search(rf"(?<![\w-]){flag}(?![\w-])", shown.out)}
    assert not missing, f"{page}: {line}"


def test_the_metrics_page_is_what_the_table_says():
    from decodebench.core.metrics import markdown

    assert (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8") == markdown()


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
