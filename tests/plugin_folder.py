"""Makes distributions with plugins in a folder, as an installer would leave them; for PYTHONPATH."""

from __future__ import annotations

import zipfile
from importlib.metadata import distribution as installed
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement

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


def distribution(folder: Path, name: str, version: str, *, group: str = "decodebench", **modules: str) -> None:
    """Put a distribution into ``folder`` whose modules are its plugins, each under the module's name.

    A module may be named ``plugin__module``, where the plugin's name is not the module's; those of another ``group`` of
    entry points are no plugins.
    """
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    points = []
    for key, code in modules.items():
        plugin, _, module = key.rpartition("__")
        points.append(f"{plugin or module} = {module}")
        (folder / f"{module}.py").write_text(code)
    (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *points, ""]))


def wheel(folder: Path, name: str, version: str, *needs: str, **modules: str) -> Path:
    """Write a wheel of what ``distribution`` puts into a folder."""
    tree = folder / f"{name}-tree"
    distribution(tree, name, version, **modules)
    (info,) = tree.glob("*.dist-info")
    with (info / "METADATA").open("a") as file:
        file.writelines(f"Requires-Dist: {need}\n" for need in needs)
    (info / "WHEEL").write_text("Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    (info / "RECORD").touch()
    path = folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(file for file in tree.rglob("*") if file.is_file()):
            archive.write(file, file.relative_to(tree))
    return path


def wheels_of_installed(folder: Path, *names: str) -> None:
    """Pack installed distributions, with all that they need, into wheels again: an index that needs no network."""
    waiting, seen = list(names), set()
    while waiting:
        found = installed(waiting.pop())
        name = found.metadata["Name"].lower().replace("-", "_").replace(".", "_")
        if name in seen:
            continue
        seen.add(name)
        wanted = map(Requirement, requires(found.metadata["Name"]) or ())
        waiting += [one.name for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
        tag = (found.read_text("WHEEL") or "").partition("Tag: ")[2].split()[0]
        with zipfile.ZipFile(folder / f"{name}-{found.version}-{tag}.whl", "w") as archive:
            for file in found.files or ():
                if ".." not in file.parts and file.suffix != ".pyc" and "direct_url" not in file.name:
                    archive.write(file.locate(), str(file))
