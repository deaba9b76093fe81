"""How often `decodebench gate` trips: at a plugin that is slower by a known share, and at the same code twice.

python benchmarks/gate.py, on a machine that nothing else uses; ``--repetitions 5`` runs a part of it. Gates of both
kinds take turns, so that a part is a sample of the whole.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import click

PRODUCTS = 40
"""Matrix products for each token of the base, see ``slowed.py``."""
LEAST_CAUGHT, MOST_FALSE = 0.9, 0.05  # shares of the gates
_DEFAULT = f"products: int = Field({PRODUCTS},"


@click.command()
@click.option("--repetitions", type=click.IntRange(1), default=20, show_default=True, help="Gates of each kind.")
@click.option("--slower", type=float, default=0.1, show_default=True, help="Share by which the new version is slower.")
@click.option("--rounds", type=click.IntRange(2), default=5, show_default=True, help="Of each gate.")
@click.option("--samples", type=click.IntRange(1), default=8, show_default=True, help="Of each round.")
@click.option("--budget", type=float, metavar="MINUTES", help="Begin no pair of gates that would end later.")
def main(repetitions: int, slower: float, rounds: int, samples: int, budget: float | None) -> None:
    """Run gates and count; fail where too few slow versions are caught, or too many equal ones."""
    began, longest, done, trips = time.monotonic(), 0.0, 0, {"slow": 0, "same": 0}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        base = _wheel(folder, "1.0", PRODUCTS)
        others = {
            "slow": _wheel(folder, "2.0", round(PRODUCTS * (1 + slower))),
            "same": _wheel(folder, "1.1", PRODUCTS),
        }
        while done < repetitions and (budget is None or time.monotonic() - began + longest < 60 * budget):
            start = time.monotonic()
            for kind, new in others.items():
                trips[kind] += _trips(kind, [str(base), str(new)], folder / f"{kind} {done}", rounds, samples)
            longest, done = max(longest, time.monotonic() - start), done + 1
    caught, false, took = trips["slow"], trips["same"], time.monotonic() - began
    click.echo(f"slower by {slower:.0%}: {caught} of {done} trip; the same code: {false} of {done}; {took:.0f} s")
    sys.exit(caught < LEAST_CAUGHT * done or false > max(1, MOST_FALSE * done))


def _trips(kind: str, sides: list[str], output: Path, rounds: int, samples: int) -> bool:
    work = ["-m", "tiny:draft", "--prompt-tokens", "16", "--output-tokens", "64", "--samples", str(samples)]
    command = [sys.executable, "-m", "decodebench", "gate", *sides, "-b", "slowed", *work]
    command += ["--rounds", str(rounds), "-o", str(output), "--quiet", "--json"]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if ended.returncode not in (0, 3):
        sys.exit(f"the gate failed with exit code {ended.returncode}")
    _, row = json.loads(ended.stdout)["comparison"]["rows"]
    interval = row["ratio_simultaneous"]
    noise = row["deviation"] or 0.0
    found = f"{row['ratio']['value']:.4f} ({interval['low']:.4f}-{interval['high']:.4f})"
    click.echo(f"{kind}: {found}, noise {noise:.2%} a round{', trips' if ended.returncode == 3 else ''}")
    return ended.returncode == 3


def _wheel(folder: Path, version: str, products: int) -> Path:
    """Pack ``slowed.py`` with another number of products by default."""
    code = Path(__file__).with_name("slowed.py").read_text(encoding="utf-8")
    if _DEFAULT not in code:
        sys.exit(f"slowed.py has no {_DEFAULT!r}")
    info = f"slowed_gate-{version}.dist-info"
    needs = "Requires-Dist: decodebench\nRequires-Dist: numpy\n"
    files = {
        "slowed.py": code.replace(_DEFAULT, f"products: int = Field({products},"),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: slowed-gate\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[decodebench]\nslowed = slowed\n",
        f"{info}/RECORD": "",
    }
    path = folder / f"slowed_gate-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


if __name__ == "__main__":
    main()
