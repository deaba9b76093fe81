"""What one would write without decodebench: csv and statistics, one file per round, no validation, nothing kept.

``python benchmarks/plain_statistics.py FOLDER`` reads ``FOLDER/*.csv`` (cell, round, sample, index, step_s, tokens),
and prints each cell's mean decode speed over its rounds, and its mean ratio to the first cell with a t interval.
"""

from __future__ import annotations

import csv
import math
import statistics
import sys
from pathlib import Path

from scipy import stats


def speeds(folder: Path) -> dict[str, dict[int, float]]:
    """Return the decode speed of each round by cell; the first step and the warm-up sample are left out."""
    found: dict[str, dict[int, float]] = {}
    for path in sorted(folder.glob("*.csv")):
        tokens, seconds = 0, 0.0
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                cell, index = row["cell"], int(row["round"])
                if int(row["sample"]) > 0 and int(row["index"]) > 0:
                    tokens += int(row["tokens"])
                    seconds += float(row["step_s"])
        found.setdefault(cell, {})[index] = tokens / seconds
    return found


def main() -> None:
    """Print a line per cell."""
    cells = speeds(Path(sys.argv[1]))
    base = next(iter(cells.values()))
    for cell, rounds in cells.items():
        logs = [math.log(speed / base[index]) for index, speed in rounds.items() if index in base]
        half = stats.t.ppf(0.975, len(logs) - 1) * statistics.stdev(logs) / math.sqrt(len(logs))
        mean = statistics.fmean(logs)
        print(
            f"{cell}: {statistics.fmean(rounds.values()):.1f} tokens/s, ratio {math.exp(mean):.3f} "
            f"({math.exp(mean - half):.3f} to {math.exp(mean + half):.3f})"
        )


if __name__ == "__main__":
    main()
