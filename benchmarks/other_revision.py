"""A plugin as another revision of decodebench measures it: in that checkout's environment, by that checkout's code."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from decodebench import ModelCache, UsageError

# Runs in the other checkout's Python and folder `benchmarks`, whose overhead.py is the one imported here.
_MEASURE = """
import json, sys
from pathlib import Path
import decodebench, overhead
name, call, checkout = json.loads(sys.argv[1])
found = Path(decodebench.__file__).resolve().parent
if found != Path(checkout):
    sys.exit(f"its environment imports decodebench from {found}: install it there with pip install -e .")
model = overhead.resolve(name, overhead.all_plugins().models, overhead.ModelCache())
print(overhead.plugin_rate(model=model, **call))
"""


@dataclass(frozen=True)
class Revision:
    """A checkout with an environment of its own.

    Attributes:
        folder: the checkout; its Python is ``.venv/bin/python``.
        name: its commit as git abbreviates it, with ``-dirty`` where files differ from it.
    """

    folder: Path
    name: str

    @classmethod
    def at(cls, folder: Path) -> Revision:
        """Return the revision in a folder.

        Raises:
            UsageError: the folder is no checkout, or has no environment.
        """
        folder = folder.resolve()
        for needed in (folder / "benchmarks" / "overhead.py", folder / ".venv" / "bin" / "python"):
            if not needed.exists():
                raise UsageError(f"--against: {needed} is missing: name a checkout with an environment in .venv")
        command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--exclude=*"]
        described = subprocess.run(command, capture_output=True, text=True, check=False)
        if described.returncode != 0:
            raise UsageError(f"--against: {folder} is no git checkout: {described.stderr.strip()}")
        return cls(folder, described.stdout.strip())

    def plugin_rate(self, model: str, **call: object) -> float:
        """Return the tokens/s that the other revision's ``plugin_rate`` measures, in a process of its own.

        Args:
            model: a model's name, which that revision resolves and prepares itself, in a cache of its own.
            call: every other argument of ``plugin_rate``.

        Raises:
            UsageError: the other revision fails, or its environment imports another checkout's decodebench.
        """
        arguments = json.dumps([model, call, str(self.folder)])
        ended = subprocess.run(
            [str(self.folder / ".venv" / "bin" / "python"), "-c", _MEASURE, arguments],
            cwd=self.folder / "benchmarks",
            env=os.environ | {"DECODEBENCH_CACHE": str(ModelCache().root / "revisions" / self.name)},
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode != 0:
            raise UsageError(f"{self.name} in {self.folder} failed: {ended.stderr.strip()[-500:]}")
        return float(ended.stdout.splitlines()[-1])
