"""Which state of a plugin made a record: the commit of an editable install, or the content of a one-off file."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions, version
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from ..contract.hookspecs import PROJECT

_GIT_TIMEOUT_S = 20.0
_PACKAGES_THAT_MATTER = re.compile(
    r"torch|transformers|tokenizers|safetensors|numpy|llama|gguf|tinygrad|tvm|mlc|ray|pydantic|pluggy|decodebench"
)


_HEADERS = re.compile(r"^(Name|Version):(.*)$", re.MULTILINE)


def revision(distribution_name: str | None, file: Path | None) -> str | None:
    """Say more than a version can, where the code may change under one version.

    Args:
        distribution_name: the distribution that provides the plugin; None for a file.
        file: the file that is the plugin; None for a distribution.

    Returns:
        ``"sha256:<16 hex digits>"`` of a file; the commit of an editable install, with ``+dirty`` where tracked files
        differ from it; ``"editable"`` where it is in no git repository; None for what was installed as a release.
    """
    if file is not None:
        return f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()[:16]}"
    return _of_distribution(distribution_name) if distribution_name else None


@cache
def _of_distribution(name: str) -> str | None:
    folder = _editable_folder(name)
    if folder is None:
        return None
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return "editable"
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".")
    return f"{commit[:12]}+dirty" if changes else commit[:12]


def own_requirement(extra: str = "") -> str:
    """Return how a package is to ask for the decodebench that runs here, with an extra where one is named.

    By version where an index gave it, else by the place that it came from: nobody else's package answers to that.
    """
    name = f"{PROJECT}[{extra}]" if extra else PROJECT
    source = _direct_url(PROJECT)
    if not source:
        return f"{name}>={version(PROJECT)}"
    url = str(source.get("url", ""))
    revision = source.get("vcs_info", {})
    return f"{name} @ " + (f"{revision['vcs']}+{url}@{revision['commit_id']}" if revision else url)


def _editable_folder(name: str) -> Path | None:
    source = _direct_url(name)
    if not source.get("dir_info", {}).get("editable"):
        return None
    return Path(unquote(urlparse(source.get("url", "")).path))


def _direct_url(name: str) -> dict[str, Any]:
    """Return where a distribution came from, as PEP 610 records it; empty where an index gave it."""
    try:
        text = distribution(name).read_text("direct_url.json")
        content = json.loads(text) if text else {}
    except (PackageNotFoundError, OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git says, None where it cannot tell."""
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_TIMEOUT_S, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return ended.stdout.strip() if ended.returncode == 0 else None


def packages() -> dict[str, str]:
    """Return the versions of the installed distributions that matter to a measurement."""
    found = (_HEADERS.findall(_head(each)) for each in distributions())
    named = ({name: value.strip() for name, value in headers} for headers in found)
    # Of two of one name the one that is found first is imported.
    known = {one["Name"]: one["Version"] for one in reversed([*named]) if one.keys() >= {"Name", "Version"}}
    return dict(sorted((n, v) for n, v in known.items() if _PACKAGES_THAT_MATTER.search(n.lower())))


def _head(one: Distribution) -> str:
    """Return the headers of a distribution's metadata: parsing all of it as mail takes seconds for an environment."""
    return (one.read_text("METADATA") or one.read_text("PKG-INFO") or "").partition("\n\n")[0]
