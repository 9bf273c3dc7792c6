"""People with a browser: Debian's Chromium, each with a fresh profile, driven through chromedriver.

Nothing here sleeps for a fixed time: ``Browser.until`` asks again until what it waits for is so. Whatever the pages
write to the console as an error (an exception, a refusal by the Content-Security-Policy, a failed request) fails the
test, unless the test says that the server will be away.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import httpx
from selenium import webdriver
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException, TimeoutException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from tests.support.server import Server
from tests.support.services import require

#: Width and height of the page, as long as a test asks for no other.
DESKTOP = (1280, 800)
#: Seconds; the machine may be busy with other tests.
TIMEOUT = 40
SWITCHES = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-features=Translate,OptimizationHints,MediaRouter",
    "--hide-scrollbars",
    "--lang=en-US",
)
_MESSAGES = """
return [...document.querySelectorAll("[data-testid=message]")].map((row) => ({
  text: row.querySelector("[data-testid=message-text]").textContent,
  own: row.dataset.own === "true",
  status: row.dataset.status ?? null,
  id: row.dataset.id ?? null,
  index: Number(row.dataset.index ?? 0),
}));
"""


class Browser:
    """One browser with a profile of its own, and one person in front of it."""

    def __init__(self, server: Server, *switches: str, service: webdriver.ChromeService | None = None) -> None:
        require("chromium")
        self.server = server
        self._profile = mkdtemp(prefix="mana-chromium-")
        self._away_allowed = False
        self._allowed: tuple[str, ...] = ()
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        for switch in (
            *SWITCHES,
            *switches,
            f"--user-data-dir={self._profile}",
            "--window-size={},{}".format(*DESKTOP),
        ):
            options.add_argument(switch)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        try:
            self.driver = webdriver.Chrome(options, service or webdriver.ChromeService(shutil.which("chromedriver")))
        except BaseException:
            shutil.rmtree(self._profile, ignore_errors=True)
            raise
        self.resize(*DESKTOP)

    def renew(self, server: Server) -> None:
        """Makes it another person's browser: one empty tab, no cookies, nothing stored. Quicker than a new one."""
        before = self.driver.window_handles
        self.driver.switch_to.new_window("tab")
        fresh = self.driver.current_window_handle
        for handle in before:
            self.driver.switch_to.window(handle)
            self.driver.close()
        self.driver.switch_to.window(fresh)
        self._devtools("Network.clearBrowserCookies")
        self._devtools("Storage.clearDataForOrigin", origin=self.server.http, storageTypes="all")
        self.server = server
        self._away_allowed = False
        self._allowed: tuple[str, ...] = ()
        self.resize(*DESKTOP)
        self.driver.get_log("browser")

    def close(self) -> None:
        """Ends the browser; its profile is gone."""
        self.driver.quit()
        shutil.rmtree(self._profile, ignore_errors=True)

    # What the browser is

    def resize(self, width: int, height: int) -> None:
        """The size of the page, also narrower than a window may be."""
        self._devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    def emulate(self, feature: str, value: str) -> None:
        """What a media query finds, e.g. ``prefers-color-scheme``."""
        self._devtools("Emulation.setEmulatedMedia", features=[{"name": feature, "value": value}])

    def screenshot(self, path: Path) -> None:
        """The page as it looks now."""
        path.parent.mkdir(parents=True, exist_ok=True)
        assert self.driver.save_screenshot(str(path))

    def _devtools(self, command: str, **parameters: Any) -> Any:
        return self.driver.execute_cdp_cmd(command, parameters)

    # Errors

    def allow_absent_server(self) -> None:
        """From now on, failed requests are no error: the test takes the server away."""
        self._away_allowed = True

    def allow_refusals(self, *parts: str) -> None:
        """From now on, it is no error that a request is refused whose address holds one of these."""
        self._allowed = parts

    def errors(self) -> list[str]:
        """What the console had to complain about since the last call."""
        return [
            f"{entry['source']}: {entry['message']}"
            for entry in self.driver.get_log("browser")
            if entry["level"] == "SEVERE"
            and not (self._away_allowed and _is_absence(entry))
            and not any(part in entry["message"] for part in self._allowed)
        ]

    # What is on the page

    def open(self, path: str = "/") -> None:
        """Goes to a page of the server."""
        self.driver.get(f"{self.server.http}{path}")

    def open_nothing(self) -> None:
        """Leaves the page, which ends its connection."""
        self.driver.get("about:blank")

    def run(self, script: str, *arguments: Any) -> Any:
        """The result of JavaScript in the page."""
        return self.driver.execute_script(script, *arguments)

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Waits until a condition is true; its value."""
        wait = WebDriverWait(
            self.driver,
            TIMEOUT,
            poll_frequency=0.05,
            ignored_exceptions=[NoSuchElementException, StaleElementReferenceException],
        )
        try:
            return wait.until(lambda _: condition())
        except TimeoutException:
            raise AssertionError(f"Not in {TIMEOUT} s: {what}\n{self.driver.current_url}\n{self._page()}") from None

    def all(self, testid: str, **data: str) -> list[WebElement]:
        """The visible elements with a ``data-testid``, and other data, as they are now."""
        return [
            one for one in self.driver.find_elements(By.CSS_SELECTOR, selector(testid, **data)) if one.is_displayed()
        ]

    def one(self, testid: str, **data: str) -> WebElement:
        """The first visible element with a ``data-testid``, as soon as there is one."""
        return self.until(lambda: next(iter(self.all(testid, **data)), None), f"{selector(testid, **data)} is visible")

    def gone(self, testid: str, **data: str) -> None:
        """Waits until no such element is visible."""
        self.until(lambda: not self.all(testid, **data), f"{selector(testid, **data)} is gone")

    def text(self, testid: str, **data: str) -> str:
        """The text of the first visible element with a ``data-testid``."""
        return self.until(lambda: [one.text for one in self.all(testid, **data)][:1], f"{testid} is visible")[0]

    def shows(self, testid: str, text: str, **data: str) -> None:
        """Waits until an element contains a text."""
        self.until(
            lambda: any(text in one.text for one in self.all(testid, **data)),
            f"{selector(testid, **data)} shows {text!r}",
        )

    def click(self, testid: str, **data: str) -> None:
        """Clicks the first visible element, again if it was replaced meanwhile."""
        self.until(lambda: [one.click() or True for one in self.all(testid, **data)[:1]], f"{testid} can be clicked")

    def press(self, *keys: str) -> None:
        """Keys, for whatever has the focus."""
        self.driver.switch_to.active_element.send_keys(*keys)

    @property
    def focused(self) -> str | None:
        """The ``data-testid`` of what has the focus."""
        return self.run("return document.activeElement?.dataset.testid ?? null")

    # What a person does

    def submit(self, **fields: str) -> None:
        """Fills the form of the page and submits it; waits for the page after it."""
        before = self.driver.find_element(By.TAG_NAME, "html")
        for name, value in fields.items():
            field = self.driver.find_element(By.NAME, name)
            field.clear()
            field.send_keys(value)
        self.press(Keys.ENTER)
        self.until(lambda: _is_stale(before), "the form was submitted")

    def sign_up(self, username: str, password: str) -> None:
        """Makes an account with the form, and arrives in the messenger."""
        self.open("/signup/")
        self.submit(username=username, password=password)
        self.online()

    def sign_in(self, username: str, password: str) -> None:
        """Signs in with the form, and arrives in the messenger."""
        self.open("/login/")
        self.submit(username=username, password=password)
        self.online()

    def online(self) -> None:
        """Waits until the messenger is connected and up to date."""
        self.until(lambda: self.state == "online", "the messenger is online")

    @property
    def state(self) -> str | None:
        """The state of the messenger's connection."""
        return self.run("return document.body?.dataset.state ?? null")

    @property
    def user_id(self) -> str:
        """The id of who is signed in."""
        return str(self.run("return document.body.dataset.userId"))

    @property
    def room_id(self) -> str:
        """The id of the open chat."""
        return str(
            self.until(lambda: self.run("return new URLSearchParams(location.search).get('room')"), "a chat is open")
        )

    def start_direct(self, username: str) -> None:
        """Finds somebody and opens the chat with them."""
        self.click("new-chat")
        self.one("people-search").send_keys(username)
        self.click("person")
        self.one("composer-text")

    def open_chat(self, name: str) -> None:
        """Opens a chat of the list, which may be reordered meanwhile."""

        def opened() -> bool:
            if any(name in one.text for one in self.all("chat-title")):
                return True
            for item in self.all("chat-item"):
                if name in item.find_element(By.CSS_SELECTOR, selector("chat-name")).text:
                    item.click()
                    break
            return False

        self.until(opened, f"the chat {name!r} is open")

    def send(self, *texts: str) -> None:
        """Writes messages in the open chat."""
        for text in texts:
            self.one("composer-text").send_keys(text, Keys.ENTER)

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages of the open chat: text, own, status, id, index."""
        return list(self.run(_MESSAGES))

    @property
    def texts(self) -> list[str]:
        """The texts of the open chat, in their order."""
        return [message["text"] for message in self.messages]

    def receives(self, *texts: str) -> None:
        """Waits until the open chat ends with these messages."""
        self.until(lambda: self.texts[-len(texts) :] == list(texts), f"the chat ends with {texts}")

    def has_all(self, texts: list[str]) -> None:
        """Waits until the open chat has exactly these messages, in whatever order."""
        self.until(lambda: sorted(self.texts) == sorted(texts), f"each is there once: {texts}")

    def status(self, text: str) -> str | None:
        """The ticks of an own message: sending, sent, delivered, read, ..."""
        return next((one["status"] for one in self.messages if one["own"] and one["text"] == text), None)

    def becomes(self, text: str, *statuses: str) -> None:
        """Waits until an own message has one of these states."""
        self.until(lambda: self.status(text) in statuses, f"{text!r} is {' or '.join(statuses)}")

    def rest(self, path: str, **query: Any) -> Any:
        """The body of a GET with the browser's session."""
        cookies = {cookie["name"]: cookie["value"] for cookie in self.driver.get_cookies()}
        answer = httpx.get(f"{self.server.http}/api/{path}", params=query, cookies=cookies, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def _page(self) -> str:
        text = self.run("return document.body?.innerText ?? ''")
        return f"state: {self.state}\n{text[-1500:]}"


def selector(testid: str, **data: str) -> str:
    """For a ``data-testid`` and other ``data-`` attributes; ``room_id="x"`` is ``data-room-id``."""
    others = "".join(f'[data-{name.replace("_", "-")}="{value}"]' for name, value in data.items())
    return f'[data-testid="{testid}"]{others}'


def _is_stale(element: WebElement) -> bool:
    try:
        return not element.is_enabled()
    except StaleElementReferenceException:
        return True


def _is_absence(entry: dict[str, Any]) -> bool:
    return "net::ERR_" in entry["message"] or "WebSocket connection to" in entry["message"]
