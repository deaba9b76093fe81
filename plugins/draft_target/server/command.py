"""`decodebench serve-target`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .... import BackendError, UsageError, find_model
from ....core.sdk.cores import cores
from ....core.sdk.sizes import Size
from ..address import is_loopback
from ..backend import DraftTargetBackend
from .security import read_pem, read_token

_FILE = click.Path(path_type=Path)


@click.command(name="serve-target", context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("-m", "--model", required=True, metavar="MODEL", help="Named model, path or Hub id.")
@click.option(
    "--address", default="localhost:50051", metavar="HOST:PORT", help="Address to listen on; port 0: any free port."
)
@click.option(
    "--strategy",
    type=click.Choice(["deterministic", "probabilistic", "probabilistic-approx"]),
    help="Verification rule of requests that name none.  [default: the exact one for their temperature]",
)
@click.option("-d", "--device", default="cpu", metavar="NAME", help="Device, e.g. cpu or cuda:0.")
@click.option(
    "--engine", type=click.Choice(["auto", "own", "transformers"]), default="auto", help="Engine that runs the model."
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16", "float16", "float64"]),
    default="float32",
    help="Data type of weights and activations.",
)
@click.option("--compile", "is_compiled", is_flag=True, help="Compile the model with torch.compile.")
@click.option(
    "--threads", type=click.IntRange(1), metavar="N", help="CPU threads.  [default: the physical cores available]"
)
@click.option("--max-sessions", type=click.IntRange(1, 4096), default=64, metavar="N", help="Maximum open sessions.")
@click.option(
    "--idle-timeout",
    type=click.FloatRange(0, min_open=True),
    default=300.0,
    metavar="SECONDS",
    help="Time after which an unused session ends.",
)
@click.option(
    "--drain-timeout",
    type=click.FloatRange(0),
    default=10.0,
    metavar="SECONDS",
    help="Time that open sessions have to end after SIGINT or SIGTERM.",
)
@click.option("--max-message", type=Size(), default="64MiB", metavar="SIZE", help="Maximum message size.")
@click.option(
    "--stream-draft-tokens",
    type=click.IntRange(1),
    default=5,
    metavar="N",
    help="Tokens that StreamInference drafts per verify cycle.",
)
@click.option("--tls-cert", type=_FILE, metavar="PEM", help="TLS certificate chain; needs --tls-key.")
@click.option("--tls-key", type=_FILE, metavar="PEM", help="Private key of --tls-cert.")
@click.option("--auth-token-file", type=_FILE, metavar="FILE", help="File with the token that every call must send.")
@click.option("--insecure", is_flag=True, help="Allow other machines to connect without TLS or without a token.")
@click.option("--verbose", is_flag=True, help="Log every verification.")
def serve_target(**flags: Any) -> int:  # noqa: ANN401 - click hands every flag over by name
    """Serve a target model that verifies drafts over gRPC.

    The drafting side is `decodebench run -b draft-target` with `--set draft-target.server=HOST:PORT`. The log goes to
    standard error, one JSON object per line. After SIGINT or SIGTERM, open sessions may end first; a second signal
    ends them.
    """
    _check_address(flags)
    try:
        import grpc  # noqa: F401
        import torch
    except ImportError as error:
        raise BackendError(
            f'{error.name} is not installed: pip install "decodebench[draft-target]"', code="package-missing"
        ) from error
    torch.set_num_threads(flags["threads"] or cores())
    if flags["device"] not in DraftTargetBackend.devices():
        raise UsageError(
            f"device {flags['device']!r} is not there; PyTorch sees {', '.join(DraftTargetBackend.devices())}",
            code="device-missing",
        )
    _serve(flags)
    return 0


def _check_address(flags: dict[str, Any]) -> None:
    address, has_tls = flags["address"], flags["tls_cert"] is not None
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"--address {address!r} is not HOST:PORT", code="bad-value")
    if has_tls != (flags["tls_key"] is not None):
        raise UsageError("--tls-cert and --tls-key go together: give both", code="missing-flag")
    if not is_loopback(address) and not flags["insecure"] and not (has_tls and flags["auth_token_file"]):
        raise UsageError(
            f"--address {address!r} can be reached from other machines: give --tls-cert, --tls-key and "
            "--auth-token-file, or accept the risk with --insecure",
            code="missing-flag",
        )


def _serve(flags: dict[str, Any]) -> None:
    import grpc

    from ..models.opening import open_model
    from .log import Log
    from .running import Listening, Running
    from .service import Served, TargetService

    credentials = None
    if flags["tls_cert"] is not None:
        pair = (read_pem("--tls-key", flags["tls_key"]), read_pem("--tls-cert", flags["tls_cert"]))
        credentials = grpc.ssl_server_credentials([pair])
    token = read_token(flags["auth_token_file"]) if flags["auth_token_file"] is not None else None
    resolved = find_model(flags["model"])
    log = Log(is_verbose=flags["verbose"])
    model = open_model(
        resolved.path,
        resolved.architecture,
        flags["engine"],
        flags["dtype"],
        flags["device"],
        is_compiled=flags["is_compiled"],
    )
    served = Served(
        name=resolved.name,
        folder=resolved.path,
        content_hash=resolved.content_hash,
        dtype=flags["dtype"],
        strategy=flags["strategy"],
        draft_tokens=flags["stream_draft_tokens"],
    )
    service = TargetService(model, served, log, max_sessions=flags["max_sessions"], idle_s=flags["idle_timeout"])
    listening = Listening(flags["address"], credentials, token, flags["max_message"], flags["drain_timeout"])
    running = Running(service, listening, flags["max_sessions"], log)
    about = {"model": resolved.name, "device": flags["device"], "tls": credentials is not None}
    log.event("serving", address=running.address, token=token is not None, **about)
    running.wait()
