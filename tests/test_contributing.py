"""What docs/contributing.md says of the files that an addition touches, done in a copy of the package."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from decodebench.core.cli.plugins import new

from .plugin_folder import decoder, distribution

ROOT = Path(__file__).parent.parent
EDITED = "core"
REPORTING = decoder("reporting").replace("forwards=1)", "forwards=1, restarts=3)")
CHECKING = decoder("checking").replace(
    "    def load(",
    "    @classmethod\n    def preflight(cls, cell):\n        from decodebench import Preflight\n\n"
    "        return Preflight(notes=(f'asked for {cell.workload.beams} beams',))\n\n    def load(",
)
RUN = ("run", "-m", "tiny:draft", "--task", "tiny-gsm", "--samples", 2, "--max-new-tokens", 4, "--rounds", 1, "--json")


class Copy:
    """A copy of the package that a test adds rows to.

    Attributes:
        touched: files that were changed, relative to the package.
    """

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.touched = folder, set()
        self.package = folder / "decodebench"
        self.package.mkdir()
        for path in (*ROOT.glob("*.py"), *(ROOT / name for name in ("collate", "viz", "plugins"))):
            (self.package / path.name).symlink_to(path)
        shutil.copytree(ROOT / EDITED, self.package / EDITED, ignore=shutil.ignore_patterns("__pycache__"))
        self._environment = {**environment, "PYTHONPATH": str(folder)}

    def add(self, file: str, before: str, row: str) -> None:
        """Put a row before the one place in a file that begins so."""
        text = (self.package / file).read_text(encoding="utf-8")
        assert text.count(before) == 1
        (self.package / file).write_text(text.replace(before, row + before), encoding="utf-8")
        self.touched.add(file)

    def python(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(
            command, capture_output=True, text=True, env=self._environment, cwd=self.folder, timeout=280, check=False
        )

    def run(self, *arguments: object) -> str:
        ended = self.python("-m", "decodebench", *arguments)
        assert ended.returncode == 0, ended.stderr
        self.said = ended.stderr
        return ended.stdout


@pytest.fixture
def copy(tmp_path, cli):
    return Copy(tmp_path, {name: value for name, value in cli.environment.items() if name != "PYTHONPATH"})


def files_of(kind: str) -> int:
    """How many files a kind of addition takes, as the page says."""
    page = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")
    return int(re.search(rf"^\| {kind} \| (\d+) \|", page, re.MULTILINE)[1])


def heads(folder: Path) -> list[dict]:
    found = [json.loads(log.read_text().split("\n", 1)[0]) for log in folder.glob("raw/*/*.jsonl")]
    return sorted(found, key=lambda head: head["started_at"])


@pytest.mark.nightly
def test_a_setting_is_one_row(copy, cli, tmp_path):
    page = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")
    (row,) = re.findall(r"^```python\n(.*\n)```", page, re.MULTILINE)
    copy.add("core/records/workload.py", "    ignore_eos: Annotated", f"    {row}")
    assert len(copy.touched) == files_of("workload setting")
    distribution(tmp_path, "checking", "1", checking=CHECKING)
    out = tmp_path / "out"
    (tmp_path / "plan.toml").write_text(
        'name = "both"\nrounds = 1\n[workload]\nmodel = "tiny:draft"\ntask = "tiny-gsm"\nsamples = 2\n'
        'max_new_tokens = 4\nbeams = 3\n[[cells]]\nbackend = "checking"\n'
    )
    help_text = " ".join(copy.run("run", "--help").split())
    assert "--beams N Beams kept. [default: 1; x>=1]" in help_text
    copy.run(*RUN, "-b", "checking", "--name", "both", "-o", out)
    assert "asked for 1 beams" in copy.said
    compared = json.loads(copy.run("run", "plan.toml", "-o", out, "--json"))
    assert "asked for 3 beams" in copy.said, "the plan's key reaches the backend"

    plain, changed = heads(out)
    assert (plain["workload"]["beams"], changed["workload"]["beams"]) == (1, 3)
    environment = {"PYTHONPATH": str(tmp_path / "without")}
    distribution(tmp_path / "without", "checking", "1", checking=decoder("checking"))
    before = cli(*RUN, "-b", "checking", "--dry-run", env=environment).json
    assert plain["cell_id"] == before["cells"][0]["cell_id"] != changed["cell_id"]

    compared = json.loads(copy.run("compare", out, "--experiment", "both", "--json"))
    assert any(text.startswith("beams differ: 3 in") for text in compared["warnings"])
    assert [row["cell"]["label"] for row in compared["rows"]] == ["checking none beams=1", "checking none beams=3"]
    script = (
        "import sys; from pathlib import Path\n"
        "from decodebench.collate.comparison.reproduce import plan_toml\n"
        "from decodebench.core.host.packed_models import ModelJob, PreparedJob\n"
        "from decodebench.core.measure.job import ServeJob, read_job\n"
        "from decodebench.core.records.store import Store\n"
        "from decodebench.core.records.workload import Workload\n"
        "model = ModelJob(name='m', path='p', content_hash='h', architecture=None)\n"
        "about = {'path': 'p', 'format': 'f', 'weight_bytes': 1, 'bits_per_weight': 8, 'quantisation': 'q'}\n"
        "prepared = PreparedJob(**about, source=model)\n"
        "job = ServeJob(plugin='p', backend='b', prepared=prepared, workload=Workload(beams=5))\n"
        "print(read_job(job.model_dump_json()).workload.beams)\n"
        "with Store.open(Path(sys.argv[1])) as store: print(plan_toml(store, 'both'))\n"
    )
    ended = copy.python("-c", script, out)
    assert ended.stdout.startswith("5\n") and re.search(r"^beams = [13]$", ended.stdout, re.MULTILINE), ended.stderr


@pytest.mark.nightly
def test_a_step_figure_and_a_metric_are_a_row_each(copy, tmp_path):
    copy.add(
        "core/records/step_figures.py",
        "    draft_s: Annotated",
        '    restarts: Annotated[Count, Field(description="drafts begun anew")] = None\n',
    )
    assert len(copy.touched) == files_of("step figure")
    copy.touched.clear()
    copy.add(
        "core/records/metrics.py",
        '    Metric("draft_share"',
        '    Metric("restarts_per_token", "1/token", "Restarts per token", "decode_restarts", "decode_tokens", False,\n'
        '        "restarts of the draft, divided by tokens, over the steps after the first"),\n',
    )
    assert len(copy.touched) == files_of("metric")
    distribution(tmp_path, "reporting", "1", reporting=REPORTING)
    out = tmp_path / "out"
    copy.run(*RUN, "-b", "reporting", "-o", out)
    (log,) = out.glob("raw/*/*.jsonl")
    steps = [line for line in map(json.loads, log.read_text().splitlines()) if line["type"] == "step"]
    assert {step["restarts"] for step in steps} == {3}
    sql = "SELECT sum(restarts), count(*) FROM steps"
    (record,) = json.loads(copy.run("query", sql, out, "--json"))
    assert list(record.values()) == [3 * len(steps), len(steps)]
    facts = json.loads(
        copy.run("query", "SELECT decode_restarts, decode_restarts_step_s > 0 FROM sample_facts", out, "--json")
    )
    assert all(list(row.values()) == [9, True] for row in facts), "three of a sample's four steps come after the first"
    compared = json.loads(copy.run("compare", out, "--metric", "restarts_per_token", "--json"))
    assert compared["rows"][0]["metrics"]["restarts_per_token"]["value"] == pytest.approx(3.0)
    help_text = copy.python("-c", "from decodebench.core.records.metrics import markdown; print(markdown())")
    assert "| `restarts_per_token` | 1/token | lower |" in help_text.stdout


ADDED = {
    "backend": ("backend", "decodebench_backends"),
    "task": ("task", "decodebench_tasks"),
    "log parser": ("parser", "decodebench_log_parsers"),
    "figure": ("figure", "decodebench_figures"),
    "finding": ("finding", "decodebench_findings"),
    "launcher": ("launcher", "decodebench_launchers"),
}


def test_what_plugins_add_touches_no_file(copy):
    for what, (kind, _) in ADDED.items():
        for path, text in new.package_files(f"own-{kind}", f"own_{kind}", kind).items():
            if path.startswith("src/"):
                (copy.folder / path[4:]).parent.mkdir(exist_ok=True)
                (copy.folder / path[4:]).write_text(text)
        info = copy.folder / f"own_{kind}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: own-{kind}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[decodebench]\nown-{kind} = own_{kind}\n")
        assert len(copy.touched) == files_of(what)
    listed = {plugin["name"]: plugin["provides"] for plugin in json.loads(copy.run("plugins", "--json"))}
    for kind, hook in ADDED.values():
        assert listed[f"own-{kind}"] == {hook: [f"own-{kind}"]}


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_the_nightly_installs_ray_whose_cluster_it_tests_and_the_tests_of_a_change_do_not():
    def steps(target):
        command = ["make", "-n", target, "VENV=build/no-environment"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert '".[ray]"' in steps("nightly")
    assert '".[ray]"' not in steps("test")
