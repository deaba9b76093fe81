"""The plugin's sub-commands of `decodebench`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...core.contract.command import Command

if TYPE_CHECKING:
    import click


def _serve_target() -> click.Command:
    from .server.command import serve_target

    return serve_target


COMMANDS = [Command("serve-target", "Serve a target model that verifies drafts over gRPC.", _serve_target)]
