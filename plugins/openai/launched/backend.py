"""The backends of servers that are started for a round: one class, made for each recipe."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from pydantic import Field, create_model, field_validator

from .... import BackendError, ModelCache
from ....core.contract.model import FLOAT_FORMATS, ModelFacts, PreparedModel, Quantisation, ResolvedModel
from ....core.contract.preflight import PlannedCell, Preflight
from ....core.contract.requirements import Availability
from ....core.contract.residence import Residence, RunningServer
from ....core.records.workload import LATER
from ....core.sdk.cores import default_threads
from ....core.sdk.gguf.formats import QUANTISATIONS as GGUF_QUANTISATIONS
from ....core.sdk.gguf.preparation import check_gguf
from ....core.sdk.hugging_face import require_architecture
from ..backend import INEXACT, errors_of, notes_on
from ..options import VARIABLE, ClientOptions
from ..served import ServedBackend, key_of
from .process import HOST, ServerProcess, free_port
from .recipes import TABLE, Recipe, fault_of

_DEVICE = re.compile(r"(cpu|cuda|rocm|xpu|metal|mps|vulkan)(:\d+)?")
_AS_STORED = Quantisation("none", None, "weights as the model's files and the command say", ("safetensors", "mlc"))


class LaunchedOptions(ClientOptions):
    """How a server is started, besides how it is asked."""

    command: str = Field(description="program and arguments of the server, with {model} and {port} to be filled in")
    args: str = Field("", description='further arguments of the server, such as "--parallel 8"')
    start_timeout_s: float = Field(600.0, gt=0, description="longest wait until the server answers, in seconds")
    api_key_env: str | None = Field(
        None,
        pattern=VARIABLE,
        description="environment variable that holds the API key which the server asks for; the server inherits it",
        json_schema_extra=LATER,
    )
    n_threads: int | None = Field(None, ge=1, description="CPU threads; by default one per physical core that is free")

    @field_validator("command")
    @classmethod
    def _can_be_filled_in(cls, value: str) -> str:
        if fault := fault_of(value):
            raise ValueError(fault)
        return value

    @field_validator("args")
    @classmethod
    def _can_be_split(cls, value: str) -> str:
        if value and (fault := fault_of(value + " {port}")):
            raise ValueError(fault)
        return value


class LaunchedBackend(ServedBackend[LaunchedOptions]):
    """A server that lives as long as the instance that started it."""

    residence: ClassVar[Residence] = "owned-server"
    threads_option: ClassVar[str | None] = "n_threads"
    recipe: ClassVar[Recipe]

    _process: ServerProcess | None = None

    @classmethod
    def probe(cls) -> Availability:
        """Look for the program of the recipe's command; nothing is started."""
        client = super().probe()
        program = shlex.split(cls.recipe.command)[0].replace("{python}", sys.executable)
        if client.available and shutil.which(program) is None:
            fix = f'install it, or name it in the config file: [{TABLE}.{cls.name}] command = "/path/to/{program} ..."'
            return Availability(False, reason=f"{program} is not there", fix=fix)
        return client

    @classmethod
    def quantisations(cls) -> Sequence[Quantisation]:
        """Return the formats of GGUF files, or the one that files have."""
        if cls.recipe.weights == "gguf":
            return GGUF_QUANTISATIONS
        if (args := cls.recipe.float_args) is None:
            return (_AS_STORED,)
        return (replace(_AS_STORED, common={name: {"args": args.format(**it)} for name, it in FLOAT_FORMATS.items()}),)

    @classmethod
    def devices(cls) -> Sequence[str]:
        """Return the CPU; a command that uses a GPU is measured all the same, under the device that the user names."""
        return ("cpu",)

    @classmethod
    def preflight(cls, cell: PlannedCell[LaunchedOptions]) -> Preflight:
        """Refuse GGUF formats that cannot be made; say what differs from engines in process, and what has no effect."""
        if cls.recipe.weights == "gguf":
            check_gguf(cell.model, cell.quantisation)
        options, inert = cell.options, {}
        if "{threads}" not in options.command + options.args:
            inert["n_threads"] = "but by the variables that libraries read: the command has no {threads}"
        notes = notes_on(cls.recipe.api, options, cell.workload)
        return Preflight(errors=errors_of(cls.recipe.api, options), notes=notes, inert=inert, inexact=INEXACT)

    @classmethod
    def prepare(
        cls, model: ResolvedModel, quantisation: str, device: str, options: LaunchedOptions, cache: ModelCache
    ) -> PreparedModel:
        """Convert to GGUF where the server opens that.

        Raises:
            ModelError: it opens folders, and the model is no Hugging Face folder.
        """
        if cls.recipe.weights == "gguf":
            from ....core.sdk.gguf.preparation import prepare_gguf

            return prepare_gguf(model, quantisation, cache)
        require_architecture(model)
        return super().prepare(model, quantisation, device, options, cache)

    def start_server(self, model: PreparedModel, device: str, options: LaunchedOptions) -> RunningServer:
        """Start the command on a free port and wait until it answers.

        The device is where the user says that the command computes; nothing of it reaches the command.
        """
        if not _DEVICE.fullmatch(device):
            raise BackendError(
                f"device {device!r} is none that a server computes on: cpu, cuda:0, metal, ...", code="device-missing"
            )
        key = key_of(options.api_key_env)
        port = free_port()
        url = f"http://{HOST}:{port}"
        self._process = process = ServerProcess(_command(options, model, port), url, key)
        process.wait_until_ready(self.recipe.ready, options.start_timeout_s)
        return RunningServer(url, process.pid, process.command)

    def load(self, model: PreparedModel, device: str, options: LaunchedOptions) -> ModelFacts:
        """Connect to the server that was started."""
        assert self.server is not None, "the host starts it"
        if options.served_model is None and self.recipe.served_model is not None:
            options = options.model_copy(update={"served_model": self.recipe.served_model})
        facts = self.connect(self.server.url, self.recipe.api, options, model, key_of(options.api_key_env))
        threads = options.n_threads or default_threads()
        return replace(facts, n_threads=threads if "{threads}" in options.command + options.args else None)

    def close(self) -> None:
        """Close the connections, and end the server where this instance started it."""
        super().close()
        if self._process is not None:
            self._process.end()
            self._process = None


def _command(options: LaunchedOptions, model: PreparedModel, port: int) -> list[str]:
    """Return the words of the command; each is filled in by itself, so that a path with spaces stays one word."""
    values = {
        "python": sys.executable,
        "model": str(model.path),
        "name": model.source.name,
        "host": HOST,
        "port": str(port),
        "threads": str(options.n_threads or default_threads()),
    }
    return [word.format_map(values) for word in shlex.split(f"{options.command} {options.args}")]


def launched(recipe: Recipe) -> type[LaunchedBackend]:
    """Make the backend of a recipe."""
    options = create_model(
        "Options",
        __base__=LaunchedOptions,
        __doc__=LaunchedOptions.__doc__,
        command=(str, Field(recipe.command, description=LaunchedOptions.model_fields["command"].description)),
    )
    content = {
        "name": recipe.name,
        "summary": f"the server {recipe.name}, started for its rounds: {shlex.split(recipe.command)[0]}",
        "recipe": recipe,
        "Options": options,
        "__doc__": LaunchedBackend.__doc__,
        "__module__": __name__,
    }
    return type("LaunchedBackend", (LaunchedBackend,), content)
