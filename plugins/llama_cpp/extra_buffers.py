"""Whether weights may be repacked for this machine's matrix instructions, found out in a throw-away process.

A build for the machine's own CPU uses AMX wherever CPUID promises it. Some virtual machines promise it and kill the
process at the first tile instruction, which is in the prefill of quantised weights. Run as a module, this file does
such a prefill; the verdict is whether that process survives.
"""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from ... import write_whole
from .options import Switch

_TRIED = ("q4_0", "q8_0", "q4_k_m")  # one of each family of repacked kernels
_WIDTH, _VOCABULARY, _PROMPT = 256, 256, 64
_TIME_LIMIT_S = 120.0


def use_extra_buffers(switch: Switch, root: Path) -> bool:
    """Decide whether the engine may repack weights.

    Args:
        switch: the user's option; ``"auto"`` tries it, once per machine and engine build.
        root: folder where the verdict is kept.
    """
    if switch != "auto":
        return switch == "on"
    machine = _machine()
    digest = hashlib.sha256(json.dumps(machine, sort_keys=True).encode()).hexdigest()[:16]
    verdict = root / f"llama-cpp-extra-buffers-{digest}.json"
    try:
        return bool(json.loads(verdict.read_text())["survived"])
    except (OSError, ValueError, KeyError):
        survived = prefill_survives()
    write_whole(verdict, json.dumps({**machine, "survived": survived}, indent=1))
    return survived


def prefill_survives(command: Sequence[str] = (sys.executable, "-m", __name__)) -> bool:
    """Run ``command`` on an empty folder and say whether it ended well."""
    with tempfile.TemporaryDirectory(prefix="decodebench-llama-cpp-") as folder:
        try:
            child = subprocess.run(
                [*command, folder], cwd=folder, capture_output=True, timeout=_TIME_LIMIT_S, check=False
            )
        except subprocess.TimeoutExpired:
            return False
    return child.returncode == 0


def _machine() -> dict[str, str]:
    """What the verdict holds for: host, CPU and the engine's build."""
    spec = find_spec("llama_cpp")
    libraries = sorted(Path(spec.origin).parent.glob("lib/*ggml-cpu*")) if spec and spec.origin else []
    build = ",".join(f"{path.name}:{path.stat().st_size}:{int(path.stat().st_mtime)}" for path in libraries)
    return {"hostname": platform.node(), "cpu": _cpu_model(), "build": build}


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    kept = ("model name", "flags", "Features")
    return hashlib.sha256("".join(sorted({x for x in lines if x.startswith(kept)})).encode()).hexdigest()[:16]


def _write_tiny_model(path: Path) -> None:
    """Write an untrained one-layer f32 model without vocabulary; 256 wide, so that every format fits."""
    import numpy as np
    from gguf import GGUFWriter

    random = np.random.default_rng(0)
    writer = GGUFWriter(path, "llama")
    writer.add_file_type(0)
    writer.add_vocab_size(_VOCABULARY)
    writer.add_context_length(128)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(2 * _WIDTH)
    writer.add_head_count(4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(_WIDTH // 4)
    writer.add_tokenizer_model("no_vocab")
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (_VOCABULARY, _WIDTH),
        "output.weight": (_VOCABULARY, _WIDTH),
        "blk.0.ffn_gate.weight": (2 * _WIDTH, _WIDTH),
        "blk.0.ffn_up.weight": (2 * _WIDTH, _WIDTH),
        "blk.0.ffn_down.weight": (_WIDTH, 2 * _WIDTH),
        **{f"blk.0.attn_{part}.weight": (_WIDTH, _WIDTH) for part in ("q", "k", "v", "output")},
        **{name: (_WIDTH,) for name in ("output_norm.weight", "blk.0.attn_norm.weight", "blk.0.ffn_norm.weight")},
    }
    for name, shape in shapes.items():
        values = random.normal(0, 0.05, shape) if len(shape) > 1 else np.ones(shape)
        writer.add_tensor(name, values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _prefill(path: Path) -> bool:
    """Prefill ``path`` with repacked weights and say whether the logits are numbers."""
    import llama_cpp
    import numpy as np

    from .engine import load_model, new_context
    from .options import LlamaCppOptions

    options = LlamaCppOptions()
    model = load_model(path, "cpu", options, extra_buffers=True)
    context, _ = new_context(model, 128, "cpu", options, n_threads=1)
    tokens = (llama_cpp.llama_token * _PROMPT)(*range(_PROMPT))
    status = llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(tokens, _PROMPT))
    logits = np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(context, -1), (_VOCABULARY,))
    return status == 0 and bool(np.isfinite(logits).all())


def _main(folder: Path) -> int:
    from ...core.sdk.gguf.quantise import quantise

    source = folder / "tiny.gguf"
    _write_tiny_model(source)
    for name in _TRIED:
        path = folder / f"{name}.gguf"
        quantise(source, path, name)
        if not _prefill(path):
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1])))
