"""TVM, imported without PyTorch.

TVM's foreign-function interface imports PyTorch wherever it finds it, in order to exchange tensors with it. Nothing
here does, and the import would cost every round seconds and memory that are no part of the engine.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import cast


def import_tvm() -> None:
    """Import TVM; PyTorch stays out unless it is there already, and can be imported afterwards."""
    modules = cast("dict[str, ModuleType | None]", sys.modules)
    if "tvm" in modules or "torch" in modules:
        return
    modules["torch"] = None  # an import of it fails like that of a package that is not installed
    try:
        from tvm import relax  # noqa: F401 - the import is what is wanted
    finally:
        del modules["torch"]
