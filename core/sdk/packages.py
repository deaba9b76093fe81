"""Whether an engine's packages are installed, from their metadata alone."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from ..contract.backend import Availability


def probe_packages(shown: str, *packages: str, fix: str) -> Availability:
    """Look packages up; none is imported.

    Args:
        shown: text of the version, each package's in braces: ``"{transformers} (torch {torch})"``.
        packages: names of distributions that the backend needs.
        fix: the command that installs them.
    """
    try:
        versions = {package: version(package) for package in packages}
    except PackageNotFoundError as error:
        return Availability(False, reason=f"{error.name} is not installed", fix=fix)
    return Availability(True, version=shown.format(**versions))


def torch_fix(extra: str) -> str:
    """Return the command that installs an extra of decodebench which brings PyTorch."""
    return (
        f'pip install "decodebench[{extra}]"  '
        "(without a GPU add --extra-index-url https://download.pytorch.org/whl/cpu, which spares gigabytes)"
    )
