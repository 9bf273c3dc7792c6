"""The name of this process in the cluster."""

from __future__ import annotations

import os
import secrets
import socket


def new_node_id() -> str:
    """A name that no other process has had: host name, process id and a random part."""
    return f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(4)}"
