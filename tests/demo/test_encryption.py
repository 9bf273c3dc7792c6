"""Encrypted chats, in the browsers of the people who use them, with a Python bot among them."""

from __future__ import annotations

import base64
import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import databases
from tests.support.browser import Browser
from tests.support.client import Account
from tests.support.server import ROOT, Server, serving

pytestmark = pytest.mark.slow

Give = Callable[..., Browser]
Enter = Callable[[Account], Browser]

#: Every frame of the page, in both directions, and what it says by REST, from its first moment on.
RECORDER = """
window.frames_seen = [];
window.rest_seen = [];
const { fetch: ask } = window;
window.fetch = function (address, options) {
  rest_seen.push(`${address} ${options?.body ?? ""}`);
  return ask.call(this, address, options);
};
const upload = XMLHttpRequest.prototype.send;
XMLHttpRequest.prototype.send = function (body) {
  for (const part of body instanceof FormData ? body.values() : [body]) {
    if (part instanceof Blob) part.text().then((text) => rest_seen.push(text));
    else rest_seen.push(String(part));
  }
  return upload.call(this, body);
};
const send = WebSocket.prototype.send;
WebSocket.prototype.send = function (text) { frames_seen.push(text); return send.call(this, text); };
const original = Object.getOwnPropertyDescriptor(WebSocket.prototype, "onmessage");
Object.defineProperty(WebSocket.prototype, "onmessage", { ...original, set(listener) {
  original.set.call(this, listener && ((event) => { frames_seen.push(event.data); return listener(event); }));
} });
"""
DATABASE = """
const done = arguments[arguments.length - 1];
const work = (store, rows) => { %s };
(async () => {
  const { name } = (await indexedDB.databases()).find((one) => one.name.startsWith("mana-e2ee"));
  const opened = indexedDB.open(name);
  opened.onsuccess = () => {
    const transaction = opened.result.transaction("e2ee", "readwrite");
    const rows = [];
    const answer = work(transaction.objectStore("e2ee"), rows);
    transaction.oncomplete = () => { opened.result.close(); done(rows); };
  };
})();
"""
FORGET_SESSIONS = """
for (const table of ["session", "active", "archived"])
  store.delete(IDBKeyRange.bound([table, ""], [table, "\\uffff"]));
"""
SEED = """store.get(["client_own", "seed"]).onsuccess = (event) => rows.push(...event.target.result);"""
#: The bytes that a page could give away, by where they lie; of keys that can't be exported, whether they really can't.
SECRETS = """
const names = ["root", "sending", "receiving", "seed", "privateKey", "chain"];
const look = (value, path) => {
  const bytes = value instanceof ArrayBuffer ? new Uint8Array(value) : value;
  if (value instanceof CryptoKey) rows.push({ path, kind: value.type, extractable: value.extractable });
  else if (bytes instanceof Uint8Array) {
    const isSecret = bytes.length >= 32 && names.some((name) => path.includes(name));
    if (isSecret) rows.push({ path, bytes: [...bytes.slice(0, 64)] });
  } else if (value && typeof value === "object")
    for (const [name, inner] of Object.entries(value)) look(inner, `${path}.${name}`);
};
const tables = ["device", "signed_prekey", "kem_prekey", "one_time", "session", "archived", "group_own", "group_peer"];
store.openCursor().onsuccess = (event) => {
  const cursor = event.target.result;
  if (!cursor) return;
  const [table] = cursor.key;
  if (tables.includes(table)) look(cursor.value, table);
  if (table === "client_own") look(cursor.value, cursor.key.join("."));
  cursor.continue();
};
"""


def ready(browser: Browser, status: str = "ready") -> Browser:
    """Waits for the state of this browser's keys."""
    browser.until(lambda: browser.run("return document.body.dataset.encryption") == status, f"the keys are {status}")
    return browser


def locked(browser: Browser, lock: str = "encrypted") -> None:
    """Waits until the lock of the open chat says this."""
    browser.one("chat-lock", lock=lock)


def has(browser: Browser, *texts: str) -> None:
    """Waits until the open chat has these messages, among others."""
    browser.until(lambda: set(texts) <= set(browser.texts), f"the chat has {texts}")


def visit(browser: Browser, room: str) -> None:
    """Opens the page anew, at a room."""
    browser.open(f"/?room={room}")
    browser.online()


def encryption_settings(browser: Browser) -> None:
    """Opens the settings of encryption."""
    browser.click("menu")
    browser.click("settings")
    browser.click("settings-encryption")


def database(browser: Browser, work: str) -> Any:
    """Does something to the browser's store of keys."""
    return browser.driver.execute_async_script(DATABASE % work)


def link(old: Browser, new: Browser) -> None:
    """Links one browser from another."""
    encryption_settings(new)
    code = new.text("link-code")
    encryption_settings(old)
    old.one("link-enter").send_keys(code)
    old.click("link-do")
    ready(new)
    for one in (old, new):
        one.click("dialog-close")


@contextlib.contextmanager
def echo_bot(account: Account, store: Path) -> Iterator[None]:
    """The Python client, which repeats what it reads."""
    command = [sys.executable, "-m", "mana_e2ee.client.echo", "--url", account.server.http, "--store", str(store)]
    command += ["--username", account.username, "--password", account.password]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith(b"ready")
            yield
        finally:
            process.terminate()


def test_a_group_of_two_browsers_and_a_bot(browser: Give, tmp_path: Path) -> None:
    with databases.fresh("sqlite") as url, serving(url, LOG_LEVEL="DEBUG") as server:
        people = [Account(server) for _ in range(3)]
        first, second = browser(server), browser(server)
        for one, account in zip((first, second), people, strict=False):
            one.allow_absent_server()
            one.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": RECORDER})
            one.sign_in(account.username, account.password)
            ready(one)
        ada, grace, bot = people
        said = [*_said(first), *_said(second)]  # a page that is opened anew begins anew
        with echo_bot(bot, tmp_path / "bot.sqlite3"):
            room = ada.room(grace, bot)
            visit(second, room)
            visit(first, room)
            locked(first)
            first.send("canary-one")
            has(first, "echo: canary-one")
            has(second, "canary-one", "echo: canary-one")

            said += [*_said(first), *_said(second)]
            second.open_nothing()  # away
            first.send("canary-away")
            has(first, "echo: canary-away")
            server.kill()  # what waits for the one who is away is in the database
            first.send("canary-queued")
            server.start()
            has(first, "echo: canary-queued")
            visit(second, room)
            has(second, "canary-away", "canary-queued", "echo: canary-queued")

            third = browser(server)
            third.allow_absent_server()
            third.sign_in(ada.username, ada.password)
            ready(third, "unlinked")
            visit(third, room)
            third.shows("message-unreadable", "Sent before this device was linked")
            link(first, third)
            has(third, "canary-one", "canary-away", "canary-queued")
            second.send("canary-linked")
            for one in (first, third):
                has(one, "canary-linked")
            third.send("canary-from-the-new-one")
            for one in (first, second):
                has(one, "canary-from-the-new-one")

            ada.http.delete(f"/api/rooms/{room}/members/{grace.id}").raise_for_status()
            second.gone("chat-item", room_id=room)
            first.send("canary-after-the-removal")
            has(first, "echo: canary-after-the-removal")
            assert "canary-after-the-removal" not in str(database(second, ALL_ROWS))

            seed = bytes(database(first, SEED))
            assert len(seed) == 32
            secrets = [b"canary", *_private(first), *_private(second)]
            assert seed in secrets
            traffic = "".join([*said, *_said(first), *_said(second)])
            for part in ("encrypted_fanout", "signed_prekey", "device_list", "/api/e2ee/bundles/"):
                assert part in traffic
            tables = b"".join(
                path.read_bytes()
                for path in Path(url.removeprefix("sqlite:///")).parent.glob("*")
                if path.name.startswith(Path(url.removeprefix("sqlite:///")).name)
            )
            for where in (traffic.encode(), tables, server.log.encode()):
                assert where
                for secret in secrets:
                    for form in (
                        secret,
                        base64.b64encode(secret).rstrip(b"=")[:-1],
                        secret.hex().encode(),
                        _numbers(secret),
                    ):
                        assert form not in where


def _said(browser: Browser) -> list[str]:
    """What a page has sent and got by its socket, and sent by REST."""
    found: list[str] = browser.run("return [...frames_seen, ...rest_seen]")
    return found


def _private(browser: Browser) -> Iterator[bytes]:
    """The secret bytes in a browser's store. Its private keys are none of them: they can't be exported."""
    found = database(browser, SECRETS)
    keys = [one for one in found if one.get("kind") == "private"]
    assert {one["path"].partition(".")[0] for one in keys} >= {"device", "signed_prekey", "one_time", "session"}
    assert not any(one["extractable"] for one in keys)
    secrets = [bytes(one["bytes"]) for one in found if "bytes" in one]
    assert {one["path"].partition(".")[0] for one in found if "bytes" in one} >= {"session", "client_own"}
    yield from secrets


def _numbers(secret: bytes) -> bytes:
    """As a list of numbers, which is what a Uint8Array becomes."""
    return ",".join(map(str, secret)).encode()


ALL_ROWS = """
store.openCursor().onsuccess = (event) => {
  const cursor = event.target.result;
  if (!cursor) return;
  if (String(cursor.key).startsWith("client_history")) rows.push(JSON.stringify(cursor.value));
  cursor.continue();
};
"""


def test_a_direct_chat_with_files_a_safety_number_and_repair(server: Server, enter: Enter, tmp_path: Path) -> None:
    ada, grace = Account(server), Account(server)
    first, second = ready(enter(ada)), ready(enter(grace))
    first.start_direct(grace.username)
    locked(first)
    note = tmp_path / "note.txt"
    note.write_text("what only the two of them know")
    first.run("return document.querySelector('[data-testid=composer-files]')").send_keys(str(note))
    first.one("tray-file", done="true")
    first.send("with a file")
    second.open_chat(ada.username)
    second.receives("with a file")
    second.shows("attachment", "note.txt")
    [stored] = [one for one in second.rest(f"rooms/{first.room_id}/messages")["results"] if one["type"] == "message"]
    assert stored["payload"] is None
    assert [one["name"] for one in stored["attachments"]] == ["file"]

    digits = []
    for one in (first, second):
        one.click("chat-lock")
        digits.append(one.text("safety-digits"))
        one.one("safety-qr")
    assert digits[0] == digits[1]
    first.click("safety-verify")
    first.shows("safety-verify", "Clear")
    for one in (first, second):
        one.click("dialog-close")
    locked(first, "verified")

    first.one("chat-filter").send_keys("FILE with")  # words, in any order; the server can't look for them
    first.shows("found-message", "with a file")
    first.one("chat-filter").clear()

    database(second, FORGET_SESSIONS)  # as if its disk had lost them
    first.send("heals by itself")
    second.receives("with a file", "heals by itself")
    second.send("both ways")
    first.receives("with a file", "heals by itself", "both ways")


def test_two_tabs_never_use_one_key_twice(server: Server, enter: Enter) -> None:
    ada, grace = Account(server), Account(server)
    first, second = ready(enter(ada)), ready(enter(grace))
    first.start_direct(grace.username)
    locked(first)
    room = first.room_id
    first.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": RECORDER})
    visit(first, room)
    tabs = [first.driver.current_window_handle]
    first.driver.switch_to.new_window("tab")
    tabs.append(first.driver.current_window_handle)
    first.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": RECORDER})
    visit(first, room)
    ready(first)
    locked(first)
    texts = [f"{number} of tab {tab}" for number in range(4) for tab in (0, 1)]
    for number, text in enumerate(texts):
        first.driver.switch_to.window(tabs[number % 2])
        first.send(text)
    second.open_chat(ada.username)
    second.has_all(texts)
    second.send("to both")
    headers: list[bytes] = []
    for tab in tabs:
        first.driver.switch_to.window(tab)
        has(first, *texts, "to both")
        found = first.run(
            "return frames_seen.map((text) => JSON.parse(text)).filter((one) => one.type === 'encrypted_fanout')"
            ".flatMap((one) => Object.values(one.payloads).flatMap((devices) => Object.values(devices)))"
        )
        headers += [base64.b64decode(payload)[2:58] for payload in set(found)]
    assert len(headers) >= len(texts)
    assert len(set(headers)) == len(headers)  # session, ratchet key and number: a key each


def test_backup_restore_and_starting_over(server: Server, enter: Enter) -> None:
    ada, grace = Account(server), Account(server)
    first, second = ready(enter(ada)), ready(enter(grace))
    first.start_direct(grace.username)
    locked(first)
    first.send("to be kept")
    second.open_chat(ada.username)
    second.receives("to be kept")
    encryption_settings(first)
    first.click("backup-enable")
    key = first.text("recovery-key")
    first.open_nothing()

    restored = ready(enter(ada), "unlinked")
    encryption_settings(restored)
    restored.one("restore-key").send_keys(key)
    restored.click("restore-do")
    ready(restored)
    restored.click("dialog-close")
    restored.open_chat(grace.username)
    restored.receives("to be kept")

    fresh = ready(enter(grace), "unlinked")
    encryption_settings(fresh)
    fresh.click("start-over")
    fresh.click("confirm-yes")
    ready(fresh)
    fresh.click("dialog-close")
    restored.one("encryption-bar", kind="changed")
    locked(restored, "warning")
    restored.send("only after a look")
    restored.becomes("only after a look", "failed")
    restored.click("encryption-bar-act")
    restored.click("safety-accept")
    restored.gone("encryption-bar")
    restored.click("message-retry")
    fresh.open_chat(ada.username)
    has(fresh, "only after a look")
    ready(second, "replaced")


def test_the_lock_tells_what_is_not_encrypted(server: Server, enter: Enter) -> None:
    ada, without_keys = Account(server), Account(server)
    first = ready(enter(ada))
    first.start_direct(without_keys.username)
    locked(first, "plain")
    first.send("in the clear")
    first.receives("in the clear")
    stored = first.rest(f"rooms/{first.room_id}/messages")["results"]
    assert [one["payload"] for one in stored if one["type"] == "message"] == [{"text": "in the clear"}]
    visit(first, ada.room(without_keys, is_private=False))
    locked(first, "plain")
    first.click("chat-lock")
    first.shows("dialog-lock", "public")
