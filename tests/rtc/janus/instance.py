"""Janus of a test's own, on free loopback ports, with nothing but the VideoRoom plugin."""

from __future__ import annotations

import contextlib
import shutil
import socket
from pathlib import Path

from tests.support.instances import Instance
from tests.support.server import PART, PORTS

API_SECRET = "the-nodes-know-this"
ADMIN_KEY = "who-knows-this-makes-rooms"
_LIBRARIES = next(iter(Path("/usr/lib").glob("*/janus")), Path("/usr/lib/janus"))

_JANUS = """
general: {{
    configs_folder = "{folder}"
    plugins_folder = "{libraries}/plugins"
    transports_folder = "{libraries}/transports"
    events_folder = "{libraries}/events"
    loggers_folder = "{libraries}/loggers"
    debug_level = 4
    api_secret = "{secret}"
    interface = "127.0.0.1"
}}
media: {{
    rtp_port_range = "{first}-{last}"
}}
nat: {{
    ice_lite = true
    ice_enforce_list = "lo"
}}
plugins: {{
    disable = "{others}"
}}
transports: {{
    disable = "libjanus_http.so,libjanus_mqtt.so,libjanus_nanomsg.so,libjanus_pfunix.so,libjanus_rabbitmq.so"
}}
"""
_WEBSOCKETS = """
general: {{
    json = "compact"
    ws = true
    ws_port = {port}
    ws_ip = "127.0.0.1"
    wss = false
}}
admin: {{
    admin_ws = false
}}
"""
_VIDEOROOM = """
general: {{
    admin_key = "{key}"
}}
"""


#: Ports for media that each of xdist's workers has.
RTP_PORTS = 250


class Janus(Instance):
    """Started and killed by tests; its log is in ``folder``."""

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What it printed."""
        return (self.folder / "log").read_text(errors="replace")

    def command(self) -> list[str]:
        plugins = (_LIBRARIES / "plugins").glob("libjanus_*.so")
        others = ",".join(sorted(one.name for one in plugins if "videoroom" not in one.name))
        first = PORTS.stop + PART * RTP_PORTS  # Janus passes over those that are taken
        files = {
            "janus.jcfg": _JANUS.format(
                folder=self.folder,
                libraries=_LIBRARIES,
                secret=API_SECRET,
                first=first,
                last=first + RTP_PORTS - 1,
                others=others,
            ),
            "janus.transport.websockets.jcfg": _WEBSOCKETS.format(port=self.port),
            "janus.plugin.videoroom.jcfg": _VIDEOROOM.format(key=ADMIN_KEY),
        }
        for name, text in files.items():
            (self.folder / name).write_text(text)
        return [shutil.which("janus") or "janus", "-F", str(self.folder), "-C", str(self.folder / "janus.jcfg"), "-o"]

    def answers(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        return False
