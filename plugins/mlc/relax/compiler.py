"""Compiling a decoder with TVM and LLVM, once per shapes, format, processor, TVM and kernel source."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from .... import BackendError, ModelCache
from .model import Decoder, build
from .runtime import import_tvm

if TYPE_CHECKING:
    import tvm

_LIBRARY = "model.so"


def library(decoder: Decoder, models: ModelCache) -> Path:
    """Return the compiled library for ``decoder``, from the cache or made now (seconds).

    Weights play no part: every model of these shapes shares it.

    Raises:
        BackendError: this TVM cannot compile for the CPU.
    """
    import_tvm()
    key = (repr(decoder), str(_target()), version("apache-tvm"), _source_hash())
    label = f"mlc-lib-{decoder.width}x{decoder.layers}-{decoder.form.dtype}"
    return models.entry(label, *key, build=lambda folder: _compile(decoder, folder / _LIBRARY)) / _LIBRARY


def _compile(decoder: Decoder, path: Path) -> None:
    import tvm
    from tvm import relax

    target = _target()
    passes = [
        relax.transform.ToNonDataflow(),
        relax.transform.RemovePurityChecking(),
        relax.transform.CallTIRRewrite(),
        relax.transform.StaticPlanBlockMemory(),
        relax.transform.LowerAllocTensor(),
        relax.transform.KillAfterLastUse(),
        relax.transform.LowerRuntimeBuiltin(),
        relax.transform.ComputePrimValue(),
        relax.transform.VMShapeLower(),
        relax.transform.AttachGlobalSymbol(),
    ]
    with target:
        built = relax.build(build(decoder), target, relax_pipeline=tvm.transform.Sequential(passes))
    built.export_library(str(path))


@cache
def _target() -> tvm.target.Target:
    import tvm

    if tvm.get_global_func("target.llvm_get_system_cpu", allow_missing=True) is None:
        raise BackendError(
            f"TVM {version('apache-tvm')} was built without LLVM, so it cannot compile for the CPU; "
            "install the wheel from the index: pip install --force-reinstall apache-tvm",
            code="package-missing",
        )
    return tvm.target.Target({"kind": "llvm", "mcpu": tvm.target.codegen.llvm_get_system_cpu()})


@cache
def _source_hash() -> str:
    """Return a hash over the kernels' source: a library made by other source is another library."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in sources)).hexdigest()
