"""``decodebench report``: which file it writes, and what it says when it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..collate.conftest import Logs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two cells of three rounds."""
    made = Logs(tmp_path_factory.mktemp("report"))
    made.speeds("a", (0.1, 0.11, 0.1))
    made.speeds("b", (0.05, 0.055, 0.05))
    return made.folder


@pytest.mark.parametrize("arguments", [(), ("--html",)])
def test_without_a_path_the_page_stands_beside_the_store(cli, folder, arguments):
    ended = cli("report", folder, *arguments)
    assert (ended.code, ended.out) == (0, f"{folder / 'report.html'}\n")
    assert "b f16 has the best decode speed" in (folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("form", ["--html={}", "--html {}"])
def test_a_path_may_be_given(cli, folder, tmp_path, form):
    page = tmp_path / "new" / "page.html"
    assert cli("report", folder, *form.format(page).split(), "--json").json == {"report": str(page)}
    assert page.is_file()


def test_a_folder_is_no_page(cli, folder):
    ended = cli("report", "--html", folder)
    assert ended.code == 2
    assert f"`decodebench report {folder} --html` writes report.html into it" in " ".join(ended.err.split())


def test_a_log_entry_is_no_page(cli, folder):
    ended = cli("report", folder, "--html", "--log-entry")
    assert (ended.code, ended.out) == (2, "")
    assert "--log-entry prints Markdown" in ended.err


def test_page_and_slides_stand_beside_the_store(cli, folder):
    ended = cli("report", folder, "--html", "--slides")
    assert (ended.code, ended.out) == (0, f"{folder / 'report.html'}\n{folder / 'report.pdf'}\n")
    assert (folder / "report.pdf").read_bytes().startswith(b"%PDF")
    assert {path.name for path in (folder / "slides").iterdir()} == {"slides.typ", "deck.json", "figures"}


def test_slides_may_be_named_and_are_written_alone(cli, folder, tmp_path):
    pdf = tmp_path / "talk.pdf"
    assert cli("report", folder, f"--slides={pdf}", "--json").json == {"slides": str(pdf)}
    assert pdf.is_file() and (tmp_path / "talk-slides" / "deck.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--slides=talk.odp"], "must end in .pdf"),
        (["--template", "my.typ"], "give --slides too"),
        (["--slides", "--log-entry"], "--log-entry prints Markdown"),
        (["--slides", "--template", "/nowhere.typ"], "cannot read the template /nowhere.typ"),
    ],
)
def test_what_cannot_be_is_said(cli, folder, arguments, said):
    ended = cli("report", folder, *arguments)
    assert ended.code == 2 and said in ended.err


def test_logs_of_other_tools_make_a_page_and_slides(cli, tmp_path):
    """Samples without a prompt's identity, cells without a figure, and one that crashed."""
    data = Path(__file__).parents[1] / "data"
    logs = [*sorted((data / "tinygrad").glob("*.txt")), data / "llama_cpp" / "llama_bench.json"]
    flags = [word for log in logs for word in ("--import", log)]
    assert cli("collate", tmp_path / "o", *flags).code == 0
    ended = cli("report", tmp_path / "o", "--html", "--slides", "--json")
    assert ended.code == 0, ended.err
    page = (tmp_path / "o" / "report.html").read_text(encoding="utf-8")
    assert "tinygrad nf4" in page and "the pace changes at step 17" in page
    assert (tmp_path / "o" / "report.pdf").read_bytes().startswith(b"%PDF")


def test_without_typst_one_line_says_how_to_get_it(cli, folder, tmp_path):
    (tmp_path / "typst.py").write_text("raise ModuleNotFoundError('No module named typst')\n")
    ended = cli("report", folder, "--slides", env={"PYTHONPATH": str(tmp_path)})
    assert (ended.code, ended.out) == (2, "")
    assert "pip install 'decodebench[slides]'" in ended.err and len(ended.err.splitlines()) == 1
