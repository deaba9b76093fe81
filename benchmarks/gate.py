"""How often `decodebench gate` trips: at a plugin that is slower by a known share, and at the same code twice.

python benchmarks/gate.py; takes about a minute a gate, on a machine that nothing else uses.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import click

PRODUCTS = 40
"""Matrix products for each token of the base, see ``slowed.py``."""
LEAST_CAUGHT, MOST_FALSE = 0.9, 0.05  # shares of the gates
_DEFAULT = f"products: int = Field({PRODUCTS},"


@click.command()
@click.option("--times", type=int, default=20, show_default=True, help="Gates of each kind.")
@click.option("--slower", type=float, default=0.1, show_default=True, help="Share by which the new version is slower.")
@click.option("--rounds", type=int, default=5, show_default=True, help="Of each gate.")
def main(times: int, slower: float, rounds: int) -> None:
    """Run gates and count; fail where too few slow versions are caught, or too many equal ones."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        base = _wheel(folder, "1.0", PRODUCTS)
        same = _wheel(folder, "1.1", PRODUCTS)
        slow = _wheel(folder, "2.0", round(PRODUCTS * (1 + slower)))
        caught = [_trips(base, slow, folder / f"slow {at}", rounds) for at in range(times)]
        false = [_trips(base, same, folder / f"same {at}", rounds) for at in range(times)]
    click.echo(f"slower by {slower:.0%}: {sum(caught)} of {times} trip; the same code: {sum(false)} of {times}")
    sys.exit(sum(caught) < LEAST_CAUGHT * times or sum(false) > MOST_FALSE * times)


def _trips(base: Path, new: Path, output: Path, rounds: int) -> bool:
    work = ["-m", "tiny:draft", "--prompt-tokens", "16", "--output-tokens", "64", "--samples", "8"]
    command = [sys.executable, "-m", "decodebench", "gate", str(base), str(new), "-b", "slowed", *work]
    command += ["--rounds", str(rounds), "-o", str(output), "--quiet", "--json"]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if ended.returncode not in (0, 3):
        sys.exit(f"the gate failed with exit code {ended.returncode}")
    _, row = json.loads(ended.stdout)["comparison"]["rows"]
    interval = row["ratio_simultaneous"]
    noise = row["deviation"] or 0.0
    click.echo(f"{row['ratio']['value']:.4f} ({interval['low']:.4f}-{interval['high']:.4f}), noise {noise:.2%} a round")
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
