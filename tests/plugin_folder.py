"""Makes distributions with plugins in a folder, as an installer would leave them; for PYTHONPATH."""

from __future__ import annotations

from pathlib import Path

DECODER = '''
from decodebench import Availability, Backend, ModelFacts, Quantisation, Step, hookimpl


class Decoder(Backend):
    """Says the prompt's last token again."""

    name, summary, kind = "{name}", "repeats the last token", "autoregressive"
    first_step_is_prefill = True

    @classmethod
    def probe(cls):
        return Availability(True, version="{version}")

    @classmethod
    def quantisations(cls):
        return [Quantisation("none", 32.0, "no weights")]

    def load(self, model, device, options):
        return ModelFacts(parameters=1, weight_bytes=4, context_length=2048, vocabulary_size=512)

    def generate(self, batch):
        for row, request in enumerate(batch):
            for _ in range(request.max_new_tokens):
                yield Step([request.prompt_ids[-1]], row=row, forwards=1)
                if request.is_stop(request.prompt_ids[-1]):
                    break


@hookimpl
def decodebench_backends():
    return [Decoder]
'''


def decoder(name: str, version: str = "7") -> str:
    """Source of a plugin with one backend."""
    return DECODER.replace("{name}", name).replace("{version}", version)


def distribution(folder: Path, name: str, version: str, **modules: str) -> None:
    """Put a distribution into ``folder`` whose modules are its plugins, each under the module's name.

    A module may be named ``plugin__module``, where the plugin's name is not the module's.
    """
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    points = []
    for key, code in modules.items():
        plugin, _, module = key.rpartition("__")
        points.append(f"{plugin or module} = {module}")
        (folder / f"{module}.py").write_text(code)
    (info / "entry_points.txt").write_text("\n".join(["[decodebench]", *points, ""]))
