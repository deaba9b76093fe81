"""The part of decodebench that a worker in another environment needs, and how it gets there.

The code comes from the host itself, so that both ends of the pipe are of one version: a folder that holds nothing but
a link to the package, and its metadata, stands on the worker's search path. The packages that this code imports must
be in the other environment; there are few of them.

Only where two versions of decodebench itself are compared has an environment its own code, which is marked.
"""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from collections.abc import Mapping
from importlib.metadata import distribution
from pathlib import Path

from ..contract.hookspecs import PROJECT
from ..files import whole_folder
from ..host.user_files import data_folder

MODULES = ("filelock", "jinja2", "packaging", "platformdirs", "pluggy", "pydantic", "tokenizers")
"""What the worker imports; each module is named as its distribution is."""

_OF_THE_HOST = ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
_OF_THE_USER = ("DECODEBENCH_DISABLE_PLUGINS", "DECODEBENCH_LOAD_PLUGINS", "DECODEBENCH_PLUGIN")
_PACKAGE = Path(__file__).parents[2]
_OWN_CODE = ".own-decodebench"


def requirements() -> tuple[str, ...]:
    """Return what to install into another environment, with the versions that the host's own metadata asks for."""
    return tuple(text for text in distribution(PROJECT).requires or () if _name(text) in MODULES)


def environment(python: Path) -> Mapping[str, str]:
    """Return the variables of a process of another interpreter: nothing of the host's but the link to its package."""
    bare = bare_environment()
    return bare if _mark(python).exists() else {**bare, "PYTHONPATH": str(search_path())}


def use_own_code(python: Path) -> None:
    """Mark the environment of an interpreter: workers there run the decodebench that is installed in it."""
    _mark(python).touch()


def _mark(python: Path) -> Path:
    return python.parent.parent / _OWN_CODE


def bare_environment() -> Mapping[str, str]:
    """Return the variables of a process that must see nothing of the host's packages, such as an installer."""
    return {name: value for name, value in os.environ.items() if name not in (*_OF_THE_HOST, *_OF_THE_USER)}


def search_path() -> Path:
    """Return the folder that holds the package and its metadata, and nothing else; made on first use."""
    metadata = _metadata(str(distribution(PROJECT).metadata))
    points = distribution(PROJECT).read_text("entry_points.txt") or ""
    key = hashlib.sha256(f"{_PACKAGE}\0{metadata}\0{points}".encode()).hexdigest()[:16]
    folder = data_folder() / "worker-part" / key
    if not folder.is_dir():
        with whole_folder(folder) as scratch:
            (scratch / PROJECT).symlink_to(_PACKAGE, target_is_directory=True)
            info = scratch / f"{_stem()}.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(metadata, encoding="utf-8")
            (info / "entry_points.txt").write_text(points, encoding="utf-8")
    return folder


def placeholder(folder: Path) -> Path:
    """Write a wheel that stands for decodebench in another environment and asks for no more than a worker needs.

    A plugin depends on decodebench; an installer would fetch all that the host depends on, too.
    """
    wheel = folder / f"{_stem()}-py3-none-any.whl"
    info = f"{_stem()}.dist-info"
    files = {
        f"{info}/METADATA": _metadata(str(distribution(PROJECT).metadata)),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: decodebench\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return wheel


def _metadata(whole: str) -> str:
    """Leave out of the host's metadata what a worker does not need; extras stay, which name the engines."""
    head, _, _ = whole.partition("\n\n")
    lines = head.splitlines()
    kept = [line for line in lines if line.split(":")[0] in ("Metadata-Version", "Name", "Version", "Provides-Extra")]
    needed = [line for line in lines if line.startswith("Requires-Dist:")]
    return "\n".join([*kept, *(line for line in needed if "extra ==" in line or _name(line[14:]) in MODULES), "", ""])


def _name(requirement: str) -> str:
    found = re.match(r"\s*([A-Za-z0-9._-]+)", requirement)
    return found.group(1).lower() if found else ""


def _stem() -> str:
    return f"{PROJECT}-{distribution(PROJECT).version}"
