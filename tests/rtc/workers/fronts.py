"""nginx in front of two nodes: an address for each, that leads to the other one while it is dead."""

from __future__ import annotations

import contextlib
import shutil
import socket
from typing import NamedTuple

from tests.support.instances import Instance
from tests.support.server import Server, free_port

_CONFIGURATION = """
daemon off;
master_process off;
pid nginx.pid;
error_log stderr crit;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_upgrade;
    proxy_read_timeout 75s;
    {servers}
}}
"""
_SERVER = """
    upstream node{number} {{
        server 127.0.0.1:{own} max_fails=1 fail_timeout=1s;
        server 127.0.0.1:{other} backup;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://node{number}; }}
    }}
"""


class Front(NamedTuple):
    """Where people go; what they know of a ``Server``."""

    http: str


class Fronts(Instance):
    """In front of two nodes."""

    def __init__(self, one: Server, other: Server) -> None:
        super().__init__()
        self._nodes = (one, other)
        self._ports = (self.port, free_port())

    @property
    def addresses(self) -> tuple[Front, Front]:
        """That of the first node, and that of the second."""
        one, other = (Front(f"http://127.0.0.1:{port}") for port in self._ports)
        return one, other

    def command(self) -> list[str]:
        one, other = (node.port for node in self._nodes)
        pairs = zip(self._ports, ((one, other), (other, one)), strict=True)
        servers = [
            _SERVER.format(number=number, port=port, own=own, other=backup)
            for number, (port, (own, backup)) in enumerate(pairs)
        ]
        (self.folder / "nginx.conf").write_text(_CONFIGURATION.format(servers="".join(servers)))
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        return [program, "-e", "stderr", "-p", str(self.folder), "-c", str(self.folder / "nginx.conf")]

    def answers(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        return False
