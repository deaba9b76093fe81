"""What an address says of who can listen in on it."""

from __future__ import annotations

import ipaddress
import socket
import ssl


def is_loopback(address: str) -> bool:
    """Whether HOST:PORT can be reached from this machine alone."""
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def speaks_tls(address: str, timeout_s: float) -> bool | None:
    """Whether what listens at HOST:PORT speaks TLS; None where nothing does. No certificate is checked."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        connection = socket.create_connection((host, int(port)), timeout_s)
    except (OSError, ValueError):
        return None
    with connection:
        try:
            with context.wrap_socket(connection, server_hostname=host):
                return True
        except OSError:  # another answer, or none
            return False
