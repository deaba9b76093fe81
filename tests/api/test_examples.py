"""The page about Python and the notebook are run as they stand; the notebook by day with the backend of the tests."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import FAULTY

DOCS = Path(__file__).parent.parent.parent / "docs"
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))

# what a notebook does with a cell: runs it, and shows its last line where that is an expression
CELLS = """
import ast, json, sys
names, shown = {}, []
for source in json.load(sys.stdin):
    *body, last = ast.parse(source).body
    if not isinstance(last, ast.Expr):
        body, last = [*body, last], None
    exec(compile(ast.Module(body, []), "cell", "exec"), names)
    value = None if last is None else eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    shown.append(value._repr_html_() if hasattr(value, "_repr_html_") else repr(value))
print(json.dumps(shown))
"""


def run_cells(sources, environment, folder):
    ended = subprocess.run(
        [sys.executable, "-c", CELLS], input=json.dumps(sources), capture_output=True, text=True, cwd=folder,
        env=environment, timeout=280,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


ENGINES = 'backends=["transformers", "tinygrad"],'
QUICK = 'backends="faulty", quantisations="f32", options={"step_s": [0.0, 0.002]},'


@pytest.mark.parametrize("engines", [pytest.param(ENGINES, marks=pytest.mark.nightly), QUICK], ids=["engines", "quick"])
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_runs_and_shows_tables_and_figures(cli, tmp_path, notebook, engines):
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert ENGINES in sources[0]
    path = os.pathsep.join(filter(None, [str(FAULTY), cli.environment.get("PYTHONPATH")]))
    environment = {**cli.environment, "PYTHONPATH": path}
    shown = run_cells([sources[0].replace(ENGINES, engines), *sources[1:]], environment, tmp_path)
    assert sum("<table" in text for text in shown) >= 3
    assert sum("data:image/svg+xml" in text for text in shown) == 1
    assert all(not cell.get("outputs") for cell in cells), "figures of another machine say nothing"


@pytest.mark.nightly
def test_the_blocks_of_the_page_run_in_order(cli, tmp_path):
    page = (DOCS / "python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    shown = run_cells(blocks, cli.environment, tmp_path)
    assert "<table" in shown[3]
    assert (tmp_path / "results" / "report.html").is_file()
    assert list((tmp_path / "figures").glob("*.svg")) and list((tmp_path / "tables").iterdir())
