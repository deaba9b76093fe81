"""``decodebench report``: which file it writes, and what it says when it cannot."""

from __future__ import annotations

import base64
import gzip
import re
from pathlib import Path

import pytest

from ..collate.conftest import ENVIRONMENT, Logs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two cells of three rounds."""
    made = Logs(tmp_path_factory.mktemp("report"))
    made.speeds("a", (0.1, 0.11, 0.1))
    made.speeds("b", (0.05, 0.055, 0.05))
    return made.folder


@pytest.mark.parametrize("arguments", [(), pytest.param(("--html",), marks=pytest.mark.nightly)])
def test_without_a_path_the_page_stands_beside_the_store(cli, folder, arguments):
    ended = cli("report", folder, *arguments)
    assert (ended.code, ended.out) == (0, f"{folder / 'report.html'}\n")
    assert "b f16 has 2.00× the decode speed of a f16" in (folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.nightly
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


@pytest.mark.nightly
def test_slides_may_be_named_and_are_written_alone(cli, folder, tmp_path):
    pdf = tmp_path / "talk.pdf"
    assert cli("report", folder, f"--slides={pdf}", "--json").json == {"slides": str(pdf)}
    assert pdf.is_file() and (tmp_path / "talk-slides" / "deck.json").is_file()


@pytest.fixture
def named(tmp_path):
    """Two cells on two hosts, whose logs name a user, home folders and a server."""
    logs = Logs(tmp_path / "named")
    for cell, host in (("a", "alices-box"), ("b", "bobs-box")):
        environment = ENVIRONMENT | {"hostname": host, "username": "alice"}
        address = {"url": "http://serves.example.org:8000/v1"}
        for number in range(2):
            logs.write(cell, number, environment=environment, model="/home/alice/tiny.gguf", options=address,
                       notes=[f"read on {host}"], order=None)  # fmt: skip
    return logs.folder


NAMES = ("alice", "bobs-box", "example.org")


def everything_in(folder, cli, *flags):
    """Return what page and slides hold, samples unpacked."""
    assert cli("report", folder, "--html", "--slides", *flags).code == 0
    page = (folder / "report.html").read_text(encoding="utf-8")
    packed = re.search(r'id="sample-data">(.*?)</script>', page)[1]
    samples = gzip.decompress(base64.b64decode(packed)).decode()
    return page + samples + (folder / "slides" / "deck.json").read_text(encoding="utf-8")


def test_names_of_hosts_users_and_home_folders_are_left_out(cli, named):
    held = everything_in(named, cli)
    assert [name for name in NAMES if name in held] == []
    assert "a f16 on host-1" in held and "b f16 on host-2" in held and "~/tiny.gguf" in held


@pytest.mark.nightly
def test_names_are_kept_where_one_asks_for_them(cli, named):
    held = everything_in(named, cli, "--with-host")
    assert [name for name in NAMES if name not in held] == [] and "host-1" not in held


def test_what_was_written_is_opened_in_the_browser(cli, folder, tmp_path):
    browser, seen = tmp_path / "browser", tmp_path / "seen"
    browser.write_text(f'#!/bin/sh\necho "$1" > {seen}\n')
    browser.chmod(0o755)
    ended = cli("report", folder, "--open", env={"BROWSER": f"{browser} %s"})
    assert ended.code == 0 and seen.read_text().strip() == (folder / "report.html").as_uri()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--slides=talk.odp"], "must end in .pdf"),
        (["--template", "my.typ"], "needs --slides"),
        (["--all-figures"], "needs --slides"),
        (["--log-entry", "--open"], "--log-entry prints Markdown"),
        (["--slides", "--log-entry"], "--log-entry prints Markdown"),
        pytest.param(
            ["--slides", "--template", "/nowhere.typ"],
            "cannot read the template /nowhere.typ",
            marks=pytest.mark.nightly,
        ),
    ],
)
def test_what_cannot_be_is_said(cli, folder, arguments, said):
    ended = cli("report", folder, *arguments)
    assert ended.code == 2 and said in ended.err


@pytest.mark.nightly
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


@pytest.mark.nightly
def test_without_typst_one_line_says_how_to_get_it(cli, folder, tmp_path):
    (tmp_path / "typst.py").write_text("raise ModuleNotFoundError('No module named typst')\n")
    ended = cli("report", folder, "--slides", env={"PYTHONPATH": str(tmp_path)})
    assert (ended.code, ended.out) == (2, "")
    assert "pip install 'decodebench[slides]'" in ended.err and len(ended.err.splitlines()) == 1
