"""The messenger, in the browsers of the people who use it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from selenium.common.exceptions import ElementClickInterceptedException, ElementNotInteractableException
from selenium.webdriver.common.keys import Keys

from tests.support import databases
from tests.support.browser import Browser
from tests.support.client import Account
from tests.support.server import Server, serving

pytestmark = pytest.mark.slow

Give = Callable[..., Browser]
Enter = Callable[[Account], Browser]


def events(browser: Browser, room: str) -> list[dict[str, Any]]:
    """Everything that the server has stored of a room, read through REST."""
    page = browser.rest(f"rooms/{room}/messages", limit=500)
    return list(page["results"])


def stored_texts(browser: Browser, room: str) -> list[str]:
    """The texts that the server has stored, in order; the indexes have no gap. What is encrypted the page must read."""
    stored = events(browser, room)
    shown = {message["id"]: message["text"] for message in browser.messages}
    first = stored[0]["index"]
    assert [event["index"] for event in stored] == list(range(first, first + len(stored)))
    return [
        event["payload"]["text"] if event["payload"] else shown[event["id"]]
        for event in stored
        if event["type"] == "message"
    ]


# Chatting


def test_two_people_sign_up_and_chat_over_kills_of_the_server(browser: Give) -> None:
    with databases.fresh("sqlite") as url, serving(url) as server:
        ada, grace = browser(server), browser(server)
        ada.sign_up("ada", "an-analytical-engine")
        grace.sign_up("grace", "a-moth-in-the-relay")
        ada.one("chat-empty")

        ada.start_direct("grace")
        ada.send("Hello Grace")
        grace.shows("chat-item", "Hello Grace")
        grace.shows("chat-unread", "1")
        ada.becomes("Hello Grace", "delivered")
        grace.open_chat("ada")
        ada.becomes("Hello Grace", "read")
        grace.send("Hello Ada")
        ada.receives("Hello Grace", "Hello Ada")
        room = ada.room_id
        said = {ada: ["Hello Grace"], grace: ["Hello Ada"]}

        for one in (ada, grace):
            one.allow_absent_server()
        for kill in range(3):
            for one, name in ((ada, "ada"), (grace, "grace")):
                burst = [f"{name} {kill}.{number} before the kill" for number in range(5)]
                one.send(*burst)
                said[one] += burst
            server.kill()  # some of it has been acknowledged, some stored, some neither
            for one, name in ((ada, "ada"), (grace, "grace")):
                one.shows("banner", "No connection")
                unsent = [f"{name} {kill}.{number} while it is away" for number in range(3)]
                one.send(*unsent)
                said[one] += unsent
                assert [one.status(text) for text in unsent] == ["queued"] * 3
            server.start()
            everything = said[ada] + said[grace]
            for one in (ada, grace):
                one.online()
                one.gone("banner")
                one.has_all(everything)
            for one in (ada, grace):
                one.becomes(said[one][-1], "read")
            assert ada.texts == grace.texts == stored_texts(ada, room)

        for one, texts in said.items():
            assert [message["text"] for message in one.messages if message["own"]] == texts
        ada_before, grace_before = ada.messages, grace.messages
        for one, before in ((ada, ada_before), (grace, grace_before)):
            one.driver.refresh()
            one.online()
            one.until(lambda one=one, before=before: one.messages == before, "the reloaded page shows the same")


def test_ticks_go_from_sent_to_delivered_to_read(alice: Account, bob: Account, enter: Enter) -> None:
    a = enter(alice)
    a.start_direct(bob.username)
    a.send("anybody there?")
    a.becomes("anybody there?", "sent")
    b = enter(bob)
    a.becomes("anybody there?", "delivered")
    b.open_chat(alice.username)
    a.becomes("anybody there?", "read")
    b.gone("chat-unread")


def test_typing_shows_and_goes(alice: Account, bob: Account, enter: Enter) -> None:
    a, b = enter(alice), enter(bob)
    a.start_direct(bob.username)
    a.send("hi")
    b.open_chat(alice.username)
    b.one("composer-text").send_keys("let me think")
    a.shows("typing", f"{bob.username} is typing")
    a.shows("chat-preview", "typing")
    b.one("composer-text").send_keys(Keys.CONTROL + "a", Keys.DELETE)
    a.until(lambda: not a.run("return document.querySelector('[data-testid=typing]').textContent"), "typing is gone")
    b.send("here I am")
    a.receives("hi", "here I am")
    a.until(lambda: not a.run("return document.querySelector('[data-testid=typing]').textContent"), "typing is gone")


def test_presence_shows_who_is_there(alice: Account, bob: Account, enter: Enter) -> None:
    a = enter(alice)
    a.start_direct(bob.username)
    a.shows("chat-subtitle", "offline")
    b = enter(bob)
    a.shows("chat-subtitle", "online")
    b.open_nothing()
    a.shows("chat-subtitle", "last seen")


def test_a_group_of_three(alice: Account, bob: Account, carol: Account, enter: Enter) -> None:
    a, b, c = enter(alice), enter(bob), enter(carol)
    a.click("new-chat")
    a.click("new-group")
    a.one("group-name").send_keys("Expedition")
    for other in (bob, carol):
        a.one("people-search").send_keys(other.username)
        a.click("person", user_id=other.id)
        a.one("group-chip", user_id=other.id)
    a.click("group-create")
    a.shows("chat-title", "Expedition")
    a.shows("chat-subtitle", "3 members")
    a.send("Who brings the tent?")
    b.open_chat("Expedition")
    b.receives("Who brings the tent?")
    b.shows("message-sender", alice.username)
    a.becomes("Who brings the tent?", "delivered")
    c.open_chat("Expedition")
    a.becomes("Who brings the tent?", "read")
    c.send("I do")
    b.receives("Who brings the tent?", "I do")
    a.receives("Who brings the tent?", "I do")

    a.click("chat-info")
    a.one("member", user_id=carol.id)
    a.run("document.querySelector(`[data-testid=member][data-user-id='${arguments[0]}'] button`).click()", carol.id)
    a.click("member-remove")
    a.click("confirm-yes")
    c.shows("toast", "You were removed from “Expedition”")
    c.gone("chat-item")
    a.gone("member", user_id=carol.id)
    a.press(Keys.ESCAPE)
    a.gone("dialog-info")
    b.shows("room-event", f"removed {carol.username}")

    b.click("chat-info")
    b.click("leave-room")
    b.click("confirm-yes")
    b.gone("chat-item")
    a.shows("room-event", f"{bob.username} left")
    a.shows("chat-subtitle", "1 member")


def test_a_public_room_is_found_and_joined(alice: Account, bob: Account, enter: Enter) -> None:
    room = alice.post("rooms", name=f"Agora {alice.username}", is_private=False, shares_history=True)["id"]
    alice.post(f"rooms/{room}/messages", payload={"text": "Welcome"})
    b = enter(bob)
    b.click("menu")
    b.click("browse-rooms")
    b.one("room-search").send_keys(f"Agora {alice.username}")
    b.click("join-public", room_id=room)
    b.receives("Welcome")
    b.send("Thank you")
    b.becomes("Thank you", "sent")
    assert stored_texts(b, room) == ["Welcome", "Thank you"]


def test_two_tabs_of_a_profile_show_the_same(alice: Account, bob: Account, enter: Enter) -> None:
    a, b = enter(alice), enter(bob)
    a.start_direct(bob.username)
    first, address = a.driver.current_window_handle, a.driver.current_url
    a.driver.switch_to.new_window("tab")
    second = a.driver.current_window_handle
    a.driver.get(address)
    a.online()
    a.send("from the second tab")
    b.open_chat(alice.username)
    b.receives("from the second tab")
    b.send("to both tabs")
    a.receives("from the second tab", "to both tabs")
    a.driver.switch_to.window(first)
    a.receives("from the second tab", "to both tabs")
    a.send("from the first tab")
    b.receives("from the second tab", "to both tabs", "from the first tab")
    a.driver.switch_to.window(second)
    a.receives("from the second tab", "to both tabs", "from the first tab")
    for handle in (first, second):
        a.driver.switch_to.window(handle)
        assert len(a.texts) == 3
        assert [message["own"] for message in a.messages] == [True, False, True]
        a.becomes("from the second tab", "read")
        a.becomes("from the first tab", "read")
    assert len(stored_texts(a, a.room_id)) == 3


# What was before


def test_history_loads_on_scroll(alice: Account, bob: Account, enter: Enter) -> None:
    room = alice.room(bob)
    written = [f"message {number}" for number in range(1, 121)]
    for number, text in enumerate(written):
        (alice if number % 3 else bob).post(f"rooms/{room}/messages", payload={"text": text})
    alice.post(f"rooms/{room}/receipts", sequence=alice.get(f"rooms/{room}")["last_sequence"], status="read")
    a = enter(alice)
    a.open_chat("A room")
    a.receives("message 119", "message 120")
    assert len(a.texts) == 50
    for _ in range(2):
        loaded = len(a.texts)
        a.run("document.querySelector('[data-testid=log]').scrollTop = 0")
        a.until(lambda loaded=loaded: len(a.texts) > loaded, "older messages have come")
        # What was on top before is still in view, with the older messages above it.
        top = a.run(
            """
            const log = document.querySelector("[data-testid=log]");
            const row = [...log.querySelectorAll("[data-testid=message]")].at(-arguments[0]);
            return row.getBoundingClientRect().top - log.getBoundingClientRect().top;
            """,
            loaded,
        )
        assert 0 <= top < 400
    a.until(lambda: a.texts == written, "all messages are there, once, in order")
    a.shows("room-event", "created")
    a.click("jump-to-latest")
    a.gone("jump-to-latest")


def test_unread_messages_are_counted_and_marked(alice: Account, bob: Account, enter: Enter) -> None:
    room = alice.room(bob)
    for number in range(60):
        alice.post(f"rooms/{room}/messages", payload={"text": f"news {number}"})
    b = enter(bob)
    b.shows("chat-unread", "60")
    b.until(lambda: b.driver.title == "(60) Mana", "the title counts")
    b.open_chat("A room")
    b.one("unread-divider")
    assert len(b.texts) == 60
    b.click("jump-to-latest")
    b.gone("chat-unread")
    b.until(lambda: b.driver.title == "Mana", "nothing is unread")


def test_a_reload_keeps_the_chat_and_the_draft(alice: Account, bob: Account, enter: Enter) -> None:
    a = enter(alice)
    a.start_direct(bob.username)
    a.send("one", "two")
    a.becomes("two", "sent")
    a.one("composer-text").send_keys("not finis")
    before = a.messages
    a.driver.refresh()
    a.online()
    a.receives("one", "two")
    a.until(lambda: a.messages == before, "the chat is as before")
    assert a.one("composer-text").get_property("value") == "not finis"
    a.one("composer-text").send_keys("hed", Keys.ENTER)
    a.receives("one", "two", "not finished")


# When something fails


def test_a_failed_message_can_be_sent_again(browser: Give) -> None:
    with databases.fresh("sqlite") as url, serving(url) as server, serving(url) as elsewhere:
        alice, bob = Account(elsewhere), Account(elsewhere)
        room = alice.room(bob)
        b = browser(server)
        b.sign_in(bob.username, bob.password)
        b.open_chat("A room")
        b.one("chat-lock", lock="plain")  # Alice has no keys
        b.allow_absent_server()
        server.kill()
        b.shows("banner", "No connection")
        b.send("am I still in?")
        alice.http.delete(f"/api/rooms/{room}/members/{bob.id}").raise_for_status()
        server.start()
        b.shows("toast", "You were removed")
        b.online()
        alice.post(f"rooms/{room}/members", user_ids=[bob.id])
        b.driver.refresh()
        b.online()
        b.shows("chat-preview", "Not sent: am I still in?")
        b.open_chat("A room")
        b.becomes("am I still in?", "failed")
        b.click("message-retry")
        b.becomes("am I still in?", "sent")
        b.gone("message-retry")
        assert stored_texts(b, room) == ["am I still in?"]


def pressed(browser: Browser, testid: str) -> bool:
    """Clicks what may be sliding away at this moment, which is then no longer needed."""
    try:
        browser.all(testid)[0].click()
    except (IndexError, ElementClickInterceptedException, ElementNotInteractableException):
        return False
    return True


def test_the_banner_lets_one_try_at_once(browser: Give) -> None:
    with databases.fresh("sqlite") as url, serving(url) as server:
        a = browser(server)
        a.sign_up("somebody", "who-has-patience")
        a.allow_absent_server()
        server.kill()
        a.shows("banner", "Reconnecting in")
        server.start()
        a.until(lambda: a.state == "online" or pressed(a, "banner-retry"), "the banner was used")
        a.online()
        a.gone("banner")


def test_a_text_that_is_too_long_is_not_sent(alice: Account, bob: Account, enter: Enter) -> None:
    a = enter(alice)
    a.start_direct(bob.username)
    a.run(
        """
        const field = document.querySelector("[data-testid=composer-text]");
        field.value = "x".repeat(15_001);
        field.dispatchEvent(new Event("input", { bubbles: true }));
        """
    )
    a.shows("composer-error", "1 characters too long")
    assert not a.one("composer-send").is_enabled()
    a.press(Keys.BACKSPACE)
    a.gone("composer-error")
    a.click("composer-send")
    a.receives("x" * 15_000)


# Signing up and in


def test_a_wrong_password_says_so(alice: Account, browser: Give) -> None:
    a = browser()
    a.open("/")
    assert a.driver.current_url.endswith("/login/?next=/")
    a.submit(username=alice.username, password="not it")
    assert "correct username and password" in a.one("login-form").text
    a.submit(username=alice.username, password=alice.password)
    a.online()


@pytest.mark.parametrize(
    ("password", "complaint"),
    [("short", "too short"), ("1234567890", "entirely numeric"), ("password", "too common"), ("", "required")],
)
def test_sign_up_refuses_bad_passwords(browser: Give, password: str, complaint: str) -> None:
    a = browser()
    a.open("/signup/")
    a.submit(username="somebody-new", password=password)
    form = a.one("signup-form")
    assert complaint in form.text
    assert form.find_element("name", "password").get_attribute("aria-invalid") == "true"


@pytest.mark.parametrize("username", ["", "two words", "x" * 151])
def test_sign_up_refuses_bad_names(browser: Give, username: str) -> None:
    a = browser()
    a.open("/signup/")
    a.run("document.querySelector('[name=username]').removeAttribute('maxlength')")
    a.submit(username=username, password="a-good-password")
    assert a.one("signup-form").find_element("name", "username").get_attribute("aria-invalid") == "true"


def test_sign_up_refuses_a_name_that_is_taken(alice: Account, browser: Give) -> None:
    a = browser()
    a.open("/signup/")
    a.submit(username=alice.username, password="a-good-password")
    assert "taken" in a.one("signup-form").text or "already" in a.one("signup-form").text


def test_signing_out_ends_the_session(alice: Account, enter: Enter) -> None:
    a = enter(alice)
    a.click("menu")
    a.click("logout")
    a.one("login-form")
    a.open("/")
    a.one("login-form")


# Ways to use it


def test_everything_goes_by_keyboard(alice: Account, bob: Account, carol: Account, enter: Enter) -> None:
    a = enter(alice)
    tab_to(a, "new-chat")
    a.press(Keys.ENTER)
    a.one("dialog-new-chat")
    assert a.focused == "people-search"
    a.press(Keys.ESCAPE)
    a.gone("dialog-new-chat")
    assert a.focused == "new-chat"
    for other in (bob, carol):
        tab_to(a, "new-chat")
        a.press(Keys.ENTER)
        a.press(other.username)
        a.one("person", user_id=other.id)
        a.press(Keys.ARROW_DOWN)
        assert a.focused == "person"
        a.press(Keys.ENTER)
        a.shows("chat-title", other.username)
        assert a.focused == "composer-text"
        a.press("first line", Keys.SHIFT + Keys.ENTER)
        a.press("second line", Keys.ENTER)
        a.receives("first line\nsecond line")

    tab_to(a, "chat-filter")
    a.press(Keys.ARROW_DOWN)
    assert a.focused == "chat-item"
    a.press(Keys.ARROW_DOWN, Keys.ENTER)
    a.shows("chat-title", bob.username)
    assert a.focused == "composer-text"

    tab_to(a, "chat-info")
    a.press(Keys.ENTER)
    a.one("dialog-info")
    a.press(Keys.ESCAPE)
    a.gone("dialog-info")
    assert a.focused == "chat-info"


def tab_to(browser: Browser, testid: str) -> None:
    """Presses the tab key until it gets there."""
    for _ in range(30):
        if browser.focused == testid:
            return
        browser.press(Keys.TAB)
    raise AssertionError(f"The tab key does not lead to {testid}.")


def test_on_a_phone_the_list_and_the_chat_are_two_views(alice: Account, bob: Account, enter: Enter) -> None:
    room = alice.room(bob)
    alice.post(f"rooms/{room}/messages", payload={"text": "a-very-long-word-" * 20})
    a = enter(alice)
    a.resize(390, 844)
    assert not a.all("log")
    assert not overflows(a)
    a.open_chat("A room")
    a.gone("chat-list")
    assert not overflows(a)
    a.send("from the phone")
    a.receives("from the phone")
    a.click("chat-back")
    a.one("chat-list")
    a.gone("log")
    assert a.focused == "chat-item"
    a.open_chat("A room")
    a.driver.back()
    a.one("chat-list")
    a.gone("log")
    a.driver.forward()
    a.shows("chat-title", "A room")
    a.driver.refresh()
    a.online()
    a.receives("from the phone")
    a.click("chat-back")
    a.one("chat-list")


def overflows(browser: Browser) -> bool:
    """Whether the page is wider than the screen."""
    return bool(browser.run("return document.scrollingElement.scrollWidth > innerWidth"))


def test_everything_that_can_be_used_has_a_name(alice: Account, bob: Account, enter: Enter) -> None:
    a = enter(alice)
    a.start_direct(bob.username)
    a.send("hi")
    a.becomes("hi", "sent")
    assert nameless(a) == []
    a.click("new-chat")
    a.one("people-search").send_keys(bob.username)
    a.one("person")
    assert nameless(a) == []


def nameless(browser: Browser) -> list[str]:
    """The roles of what a screen reader finds and can't name."""
    tree = browser.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = {"button", "link", "textbox", "searchbox", "checkbox", "dialog", "log", "navigation", "main"}
    return [
        node["role"]["value"]
        for node in tree
        if not node["ignored"] and node["role"]["value"] in roles and not node.get("name", {}).get("value")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_follows_the_system_until_one_is_chosen(alice: Account, enter: Enter, scheme: str) -> None:
    a = enter(alice)
    a.emulate("prefers-color-scheme", scheme)
    other = {"light": "dark", "dark": "light"}[scheme]
    assert theme(a) == scheme
    a.click("menu")
    a.click("theme-toggle")
    assert theme(a) == other
    a.driver.refresh()
    a.online()
    assert theme(a) == other


def theme(browser: Browser) -> str:
    """What the page looks like."""
    lightness = browser.run("return Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])")
    return "light" if lightness > 127 else "dark"


@pytest.mark.parametrize("path", ["/", "/login/", "/signup/"])
def test_pages_allow_only_their_own_scripts_and_have_none_inline(server: Server, alice: Account, path: str) -> None:
    with httpx.Client(base_url=server.http, follow_redirects=True) as visitor:
        if path == "/":
            visitor.get("/login/")
            token = visitor.cookies["csrftoken"]
            fields = {"username": alice.username, "password": alice.password, "csrfmiddlewaretoken": token}
            visitor.post("/login/", data=fields).raise_for_status()
        page = visitor.get(path)
    assert page.url.path == path
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert re.findall(r"<script[^>]*>", page.text)
    assert all(" src=" in tag for tag in re.findall(r"<script[^>]*>", page.text))
    assert not re.findall(r"<style|\sstyle=|\son[a-z]+=|javascript:", page.text)
