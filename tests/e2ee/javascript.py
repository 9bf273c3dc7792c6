"""The JavaScript core driven from Python: in a Node process, or in a headless Chromium."""

import contextlib
import functools
import http.server
import itertools
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from mana_e2ee.core import Address
from tests.support import services

from .parties import NOW

ROOT = Path(__file__).parents[2]
Answer = dict[str, Any]


class Bridge(Protocol):
    def call(self, op: str, **fields: object) -> Answer: ...


class Refused(Exception):
    """The JavaScript core refused, with this code."""


def checked(answer: Answer) -> Answer:
    """The answer, or AssertionError when JavaScript crashed, or Refused."""
    assert "crash" not in answer, answer["crash"]
    if "error" in answer:
        raise Refused(answer["error"])
    return answer


class NodeBridge:
    """A `node` process that holds JavaScript devices."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [*services.node(), "tests/e2ee/js/peer_node.mjs"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def call(self, op: str, **fields: object) -> Answer:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"op": op, **fields}) + "\n")
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=20)
        self._process.stdout.close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript"}

    def log_message(self, *args: object) -> None:
        pass


@contextlib.contextmanager
def served() -> Iterator[str]:
    """The repository over HTTP on localhost, which browsers treat as a secure context."""
    handler = functools.partial(_Quiet, directory=str(ROOT))
    server = http.server.ThreadingHTTPServer(("localhost", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://localhost:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


_CALL = """
const [command, done] = arguments;
import("/tests/e2ee/js/peer.mjs")
  .then((peer) => peer.handle(command))
  .then(done, (error) => done({ crash: String(error) }));
"""


class ChromiumBridge:
    """A headless Chromium; `tab` opens another tab of the same origin."""

    def __init__(self, base: str) -> None:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        services.require("chromium")
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
            options.add_argument(argument)
        self._base = base
        self.driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        self.driver.set_script_timeout(120)
        self.driver.get(f"{base}/tests/e2ee/js/page.html")

    def call(self, op: str, **fields: object) -> Answer:
        return self.driver.execute_async_script(_CALL, {"op": op, **fields})

    def run(self, script: str) -> Any:
        return self.driver.execute_async_script(script)

    def close(self) -> None:
        self.driver.quit()


_ids = itertools.count()


class JsParty:
    """The same verbs as `parties.Party`, for a device that lives in JavaScript."""

    def __init__(
        self, bridge: Bridge, user: str, *, suites: tuple[int, ...] = (1, 2), database: str | None = None
    ) -> None:
        self.bridge = bridge
        self.id = f"{user} {next(_ids)}"
        self.address = Address(user, "browser")
        made = self.call("make", user=user, device="browser", suites=list(suites), now=NOW, database=database)
        self.record = bytes.fromhex(made["record"])

    def call(self, op: str, **fields: object) -> Answer:
        return checked(self.bridge.call(op, **self.command(**fields)))

    def command(self, **fields: object) -> dict[str, object]:
        plain = {key: value.hex() if isinstance(value, bytes) else value for key, value in fields.items()}
        return {"id": self.id, **plain}

    def to(self, address: Address, **fields: object) -> dict[str, object]:
        return self.command(user=address.user, device=address.device, now=NOW, **fields)

    def claim(self, *, one_time: bool = True) -> bytes:
        return bytes.fromhex(self.call("bundles", oneTime=1)["bundles"][0 if one_time else -1])

    def start(self, address: Address, bundle: bytes) -> bytes:
        answer = self.call("process", user=address.user, device=address.device, now=NOW, bundle=bundle)
        return bytes.fromhex(answer["sessionId"])

    def send(self, address: Address, plaintext: bytes) -> bytes:
        answer = self.call("encrypt", user=address.user, device=address.device, now=NOW, plaintext=plaintext)
        return bytes.fromhex(answer["message"])

    def read(self, address: Address, message: bytes) -> bytes:
        answer = self.call("decrypt", user=address.user, device=address.device, now=NOW, message=message)
        return bytes.fromhex(answer["plaintext"])

    def drop(self) -> None:
        self.call("drop")
