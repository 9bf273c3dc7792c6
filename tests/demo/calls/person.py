"""A person in front of the messenger, with Chromium's fake camera and microphone."""

from __future__ import annotations

from typing import Any

from tests.rtc.caller import SWITCHES
from tests.support.browser import Browser
from tests.support.client import Account
from tests.support.server import Server

_CALL = "return document.querySelector('[data-testid=call]')?.dataset[arguments[0]] ?? null"
#: How far the pictures of others have got, by user id and source. Chromium plays what it decodes.
_FRAMES = """
const found = {};
for (const tile of document.querySelectorAll("[data-testid=tile][data-own=false]")) {
  const video = tile.querySelector("video");
  const name = `${tile.dataset.userId} ${tile.dataset.source}`;
  if (!video.hidden) found[name] = video.getVideoPlaybackQuality().totalVideoFrames;
}
return found;
"""
#: A screen that can be shared: headless Chromium has none.
_SCREEN = """
navigator.mediaDevices.getDisplayMedia = async () => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 960, height: 540 });
  const context = canvas.getContext("2d");
  setInterval(() => {
    context.fillStyle = "#f4f1e8";
    context.fillRect(0, 0, 960, 540);
    context.fillStyle = "#283044";
    context.font = "48px sans-serif";
    context.fillText(`Quarterly figures ${Math.floor(Date.now() / 100)}`, 60, 120);
  }, 80);
  return canvas.captureStream(12);
};
"""
#: What a browser does whose user has denied it, or that has no device.
_REFUSING = """
const name = arguments[0];
navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("refused", name));
"""


class Person(Browser):
    """A browser that is in calls."""

    def __init__(self, server: Server) -> None:
        super().__init__(server, *SWITCHES)

    def arrive(self, account: Account) -> None:
        """Opens the messenger as somebody, with a small picture: two cores serve three encoders."""
        self.renew(account.server)
        self.open("/login/")
        self.run("localStorage.setItem('demo.call', JSON.stringify({saving: true}))")
        self.sign_in(account.username, account.password)
        self.until(lambda: self.encryption in ("ready", "unlinked"), "the keys of this device are published")

    @property
    def encryption(self) -> str | None:
        """``ready``, or ``unlinked`` on a second device that nobody has linked."""
        return self.run("return document.body.dataset.encryption ?? null")

    def open_room(self, room: str) -> None:
        """Opens a chat by its address."""
        self.open(f"/?room={room}")
        self.online()
        self.one("chat-title")

    def prepare_screen(self) -> None:
        """From now on there is a screen to share."""
        self.run(_SCREEN)

    def refuse_devices(self, name: str) -> None:
        """From now on the browser gives no camera and no microphone, with this DOMException."""
        self.run(_REFUSING, name)

    @property
    def call_state(self) -> str | None:
        """The state of the call on the page."""
        return self.run(_CALL, "state")

    @property
    def via(self) -> str | None:
        """``peer`` or ``sfu``."""
        return self.run(_CALL, "via")

    def connected(self) -> None:
        """Waits until media flows."""
        self.until(lambda: self.call_state == "connected", "the call is connected")

    @property
    def frames(self) -> dict[str, int]:
        """Frames that were decoded of each of the others' pictures."""
        return dict(self.run(_FRAMES))

    def sees(self, *pictures: str, more: int = 5) -> None:
        """Waits until exactly these pictures ("<user id> camera") are shown, and each moves on."""
        self.until(lambda: set(self.frames) == set(pictures), f"{pictures} are shown, not {self.frames}")
        before = self.frames

        def moved() -> bool:
            now = self.frames
            return all(now.get(one, 0) >= before.get(one, 0) + more for one in pictures)

        self.until(moved, f"{pictures} move")

    def rows(self) -> list[str]:
        """The calls in the open chat."""
        return [one.text for one in self.all("call-row")]

    def rest_call(self) -> dict[str, Any]:
        """The newest call of this person, as the server has it."""
        found: dict[str, Any] = self.rest("rtc/calls")["results"][0]
        return found
