"""The messenger's settings, contacts and notifications, with the mouse, the keyboard and two browsers at once."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from tests.support.browser import Browser
from tests.support.client import Account

pytestmark = pytest.mark.slow

Enter = Callable[[Account], Browser]


def open_settings(browser: Browser, page: str) -> None:
    browser.click("menu")
    browser.click("settings")
    browser.click(f"settings-{page}")


def choose(browser: Browser, field: str, value: str) -> None:
    Select(browser.one(field)).select_by_value(value)


def test_two_people_become_contacts(alice: Account, bob: Account, enter: Enter) -> None:
    a, b = enter(alice), enter(bob)
    a.click("menu")
    a.click("contacts")
    a.click("contact-add")
    a.one("people-search").send_keys(bob.username)
    a.click("person")
    b.shows("notifications-unread", "1")
    b.click("notifications")
    b.shows("notification", alice.username)
    b.one("notification").find_element(By.CSS_SELECTOR, ".row-open").click()
    b.click(
        "request-accept",
    )
    b.one("contact", user_id=alice.id)
    a.one("contact", user_id=bob.id)
    a.click("contact-star")
    a.until(lambda: alice.get("contacts")["results"][0]["is_favourite"], "Bob is a favourite")
    a.click("contact-chat")
    a.shows("chat-title", bob.username)
    b.gone("notifications-unread")


def test_a_block_from_the_chat_is_found_and_taken_back_in_the_settings(
    alice: Account, bob: Account, enter: Enter
) -> None:
    alice.post("rooms", room_type="direct", members=[bob.id])
    a = enter(alice)
    a.open_chat(bob.username)
    a.click("chat-info")
    a.click("person-block")
    a.click("confirm-yes")
    a.one("person-unblock")
    a.click("dialog-close")
    a.gone("dialog-info")
    open_settings(a, "blocked")
    a.one("blocked", user_id=bob.id)
    a.click("unblock")
    a.gone("blocked")
    assert alice.get("blocks")["results"] == []


def test_choices_are_saved_and_live_in_another_window(alice: Account, enter: Enter) -> None:
    a, other = enter(alice), enter(alice)
    open_settings(other, "notifications")
    open_settings(a, "notifications")
    choose(a, "level", "mentions")
    other.until(lambda: other.one("level").get_property("value") == "mentions", "the other window follows")
    a.click("quiet")
    a.until(lambda: alice.get("preferences/notifications.quiet_hours")["value"], "quiet hours are stored")
    a.click("settings-back")
    assert a.focused == "settings-notifications", "the focus is where one came from"
    a.click("settings-privacy")
    choose(a, "last-seen-to", "nobody")
    choose(a, "direct-messages-from", "contacts")
    stored = {"direct_messages_from": "contacts", "last_seen_to": "nobody"}
    a.until(lambda: stored.items() <= alice.get("me").items(), "privacy is stored")


def test_a_picture_and_a_status_are_seen_by_others_at_once(
    alice: Account, bob: Account, enter: Enter, tmp_path: Path
) -> None:
    alice.post("rooms", room_type="direct", members=[bob.id])
    a, b = enter(alice), enter(bob)
    b.one("chat-item")
    file = tmp_path / "me.png"
    made = io.BytesIO()
    Image.new("RGB", (300, 200), "teal").save(made, "PNG")
    file.write_bytes(made.getvalue())
    a.click("menu")
    a.click("profile")
    a.one("profile-save")
    a.driver.find_element(By.ID, "profile-picture").send_keys(str(file))
    a.until(lambda: alice.get("me")["avatar_url"], "the picture is stored")
    a.one("profile-name").send_keys("Alice the Great")
    a.one("profile-status").send_keys("Busy")
    choose(a, "profile-emoji", "\U0001f3a7")
    choose(a, "profile-period", "60")
    a.click("profile-save")
    a.gone("dialog-profile")
    b.shows("chat-name", "Alice the Great")
    b.until(lambda: b.driver.find_elements(By.CSS_SELECTOR, ".chat-item .avatar img"), "Bob sees the picture")
    status = bob.get(f"users/{alice.id}")["status"]
    assert (status["text"], status["emoji"], status["expires_at"] is not None) == ("Busy", "\U0001f3a7", True)


def test_what_is_no_picture_is_refused_in_words(alice: Account, enter: Enter, tmp_path: Path) -> None:
    a = enter(alice)
    a.allow_absent_server()
    file = tmp_path / "me.png"
    file.write_bytes(b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    a.click("menu")
    a.click("profile")
    a.one("profile-save")
    a.driver.find_element(By.ID, "profile-picture").send_keys(str(file))
    a.shows("toast", "no image")
    a.errors()  # the browser itself reports the answer 400


def test_the_password_is_changed_and_other_devices_are_out(alice: Account, enter: Enter) -> None:
    a = enter(alice)
    open_settings(a, "password")
    a.one("old-password").send_keys("wrong")
    for field in ("new-password", "new-password-again"):
        a.one(field).send_keys("another-long-one-8")
    a.press(Keys.ENTER)
    a.until(lambda: "not your password" in a.one("dialog-settings").text, "the mistake is named")
    a.errors()  # the browser itself reports the answer 400
    a.one("old-password").clear()
    a.one("old-password").send_keys(alice.password, Keys.ENTER)
    a.gone("dialog-settings")
    assert alice.http.get("/api/me").json()["code"] == "revoked"
    body = {"username": alice.username, "password": "another-long-one-8"}
    assert httpx.post(f"{alice.server.http}/api/auth/token", json=body).status_code == 200
    assert a.rest("me")["id"] == alice.id, "this browser stays signed in"
    a.open("/")
    a.online()


def test_devices_are_listed_and_signed_out(alice: Account, enter: Enter) -> None:
    body = {"username": alice.username, "password": alice.password, "device_id": "phone", "device_name": "Old phone"}
    phone = httpx.post(f"{alice.server.http}/api/auth/token", json=body).json()["access"]
    a = enter(alice)
    open_settings(a, "devices")
    a.shows("device", "Chrome on Linux")
    a.until(
        lambda: (
            a.one("device", device_id="phone").find_element(By.CSS_SELECTOR, "[data-testid=device-remove]").click()
            or True
        ),
        "the phone can be signed out",
    )
    a.click("confirm-yes")
    a.gone("device", device_id="phone")
    headers = {"Authorization": f"Bearer {phone}"}
    assert httpx.get(f"{alice.server.http}/api/me", headers=headers).json()["code"] == "revoked"
    a.click("everywhere")
    a.click("confirm-yes")
    a.until(lambda: "/login/" in a.driver.current_url, "this browser is signed out as well")
    assert alice.http.get("/api/me").json()["code"] == "revoked"
    a.errors()  # the socket was closed


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_settings_are_used_with_the_keyboard_and_fit(alice: Account, enter: Enter, width: int, height: int) -> None:
    a = enter(alice)
    a.resize(width, height)
    a.one("menu").send_keys(Keys.ENTER)
    a.one("settings").send_keys(Keys.ENTER)
    a.one("settings-privacy").send_keys(Keys.ENTER)
    a.until(lambda: a.focused == "settings-back", "the focus is on the page")
    a.one("last-seen-to")
    assert a.run("return document.documentElement.scrollWidth <= innerWidth")
    assert a.run("const d = document.querySelector('dialog[open]'); return d.scrollWidth <= d.clientWidth + 1")
    a.press(Keys.ENTER)
    a.one("settings-devices")
    a.press(Keys.ESCAPE)
    a.gone("dialog-settings")
