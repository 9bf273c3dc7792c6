"""A person in a call: headless Chromium with fake devices on the media lab's page, through the real server."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from selenium.webdriver import ChromeService

from tests.support.browser import Browser
from tests.support.client import Account
from tests.support.server import Server

SWITCHES = (
    "--use-fake-device-for-media-stream=fps=10",
    "--use-fake-ui-for-media-stream",
    "--allow-loopback-in-peer-connection",
    "--autoplay-policy=no-user-gesture-required",
    "--auto-select-desktop-capture-source=Entire screen",
)
#: Seconds that anything in a call may take on a machine that does other things as well.
PATIENCE = 30

_STATS = """
const report = await peer.getStats();
return [...report.values()].filter((one) => one.type === type);
"""


def last_statistics(server: Server) -> dict[str, Any]:
    """The server's numbers of the participants, from the last line of its log that tells some (level DEBUG)."""
    line = next(line for line in reversed(server.log.splitlines()) if " Room " in line and "publish" in line)
    return dict(json.loads(line[line.index("{") :])["participants"])


class Caller:
    """A browser on the page. ``close`` ends it."""

    def __init__(self, server: Server, account: Account, *switches: str, service: ChromeService | None = None) -> None:
        self.account = account
        self.browser = Browser(server, *SWITCHES, *switches, service=service)
        self.browser.driver.set_script_timeout(PATIENCE)
        self.sign_in()

    def renew(self, account: Account) -> None:
        """Gives the browser to another person."""
        self.account = account
        self.browser.renew(account.server)
        self.sign_in()

    def sign_in(self) -> None:
        """Opens the lab."""
        self.browser.open("/login/?next=/rtc-lab/")
        self.browser.submit(username=self.account.username, password=self.account.password)
        self.browser.open("/rtc-lab/")
        self.browser.until(lambda: self.browser.run("return !!window.lab"), "the lab is loaded")

    def close(self) -> None:
        """Ends the browser."""
        self.browser.close()

    def do(self, script: str, *arguments: Any) -> Any:
        """The result of an async function's body in the page; ``args`` are the arguments."""
        wrapped = f"""
            const args = [...arguments], done = args.pop();
            const call = window.lab.call;
            (async () => {{ {script} }})().then((value) => done([value ?? null]), (error) => done(`${{error.stack}}`));
        """
        answer = self.browser.driver.execute_async_script(wrapped, *arguments)
        assert isinstance(answer, list), answer
        return answer[0]

    def join(self, room: str) -> None:
        """Joins the room's call."""
        self.do("await lab.join(args[0])", room)

    def publish(self, width: int = 960, height: int = 540, fps: int = 10, *, audio: bool = True) -> None:
        """Publishes camera and microphone."""
        self.do(
            "await lab.publishCamera({audio: args[3], video: {width: args[0], height: args[1], frameRate: args[2]}})",
            width,
            height,
            fps,
            audio,
        )

    def stats(self, peer: str, kind: str) -> list[dict[str, Any]]:
        """getStats of ``publishing`` or ``receiving``, those of a type."""
        return list(self.do(f"const peer = call[args[0]], type = args[1]; {_STATS}", peer, kind))

    def inbound(self, kind: str = "video") -> list[dict[str, Any]]:
        """What is received, one entry for each track that has had packets."""
        return [one for one in self.stats("receiving", "inbound-rtp") if one["kind"] == kind]

    def received(self, track: str) -> dict[str, Any]:
        """getStats of one received track, by its id in the call."""
        return dict(
            self.do(
                """
                const report = await call.receiving.getStats(call.media.get(args[0]));
                return [...report.values()].find((one) => one.type === "inbound-rtp") ?? {};
                """,
                track,
            )
        )

    def tracks(self, **fields: str) -> list[dict[str, Any]]:
        """What others publish and is received here, by fields of the track."""
        found = self.do("return [...call.tracks.values()].filter((one) => call.media.has(one.id))")
        return [one for one in found if all(one[name] == value for name, value in fields.items())]

    @property
    def participant(self) -> str:
        """The id in the call."""
        return str(self.do("return call.participant"))

    def until(self, condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
        """Waits until something is so; its value."""
        deadline = time.monotonic() + seconds
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > deadline:
                raise AssertionError(f"Not in {seconds} s: {what}\n{self.situation()}")
            time.sleep(0.05)

    def situation(self) -> str:
        """What a failed test wants to know."""
        return "\n".join(
            [
                str(self.do("return [call.publishing.connectionState, call.receiving.connectionState]")),
                *(str(one) for one in self.inbound()),
                *(str(one) for one in self.stats("publishing", "outbound-rtp")),
                str(self.browser.errors()),
            ]
        )

    def sees(self, count: int, *, frames: int = 10) -> None:
        """Waits until so many pictures move."""
        self.until(
            lambda: sum(one.get("framesDecoded", 0) >= frames for one in self.inbound()) >= count,
            f"{count} pictures move",
        )

    def hears(self, count: int) -> None:
        """Waits until so many voices come."""
        self.until(
            lambda: sum(one["packetsReceived"] > 20 for one in self.inbound("audio")) >= count, f"{count} voices come"
        )
