"""What people do with messages and groups in the messenger: by mouse and by keys, seen by the others at once."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from selenium.webdriver.common.keys import Keys

from tests.support.browser import Browser
from tests.support.client import Account

pytestmark = pytest.mark.slow

Enter = Callable[[Account], Browser]


def _menu(browser: Browser, message_id: str, entry: str, **data: str) -> None:
    """Opens the menu of a message and chooses something."""
    browser.until(
        lambda: browser.run(
            "const b = document.querySelector(`[data-id='${arguments[0]}'] .message-menu`); b?.click(); return !!b",
            message_id,
        ),
        "the message has a menu",
    )
    browser.one(entry, **data).click()


def _row(browser: Browser, message_id: str) -> str:
    return str(browser.run("return document.querySelector(`[data-id='${arguments[0]}']`)?.innerText ?? ''", message_id))


def _group(owner: Account, *members: Account) -> str:
    return owner.room(*members)


def test_an_edit_a_reaction_and_a_deletion_are_seen_by_the_other(alice: Account, bob: Account, enter: Enter) -> None:
    room = _group(alice, bob)
    message = alice.post(f"rooms/{room}/messages", payload={"text": "helo"})["id"]
    a, b = enter(alice), enter(bob)
    for one in (a, b):
        one.open_chat("A room")
    _menu(a, message, "menu-edit")
    field = a.one("composer-text")
    field.send_keys(Keys.CONTROL + "a", Keys.DELETE)
    field.send_keys("hello", Keys.ENTER)
    b.until(lambda: "hello" in _row(b, message) and "edited" in _row(b, message), "the edit is seen")
    _menu(b, message, "quick-reaction", emoji="👍")
    a.until(lambda: a.all("reaction", emoji="👍"), "the reaction is seen")
    a.one("reaction", emoji="👍").click()
    b.until(lambda: "2" in b.one("reaction", emoji="👍").text, "and counted")
    _menu(a, message, "menu-delete")
    a.one("confirm-yes").click()
    for one in (a, b):
        one.until(lambda one=one: "This message was deleted" in _row(one, message), "the deletion is seen")
        assert not one.all("reaction")


def test_a_message_is_deleted_for_oneself_on_all_ones_pages(alice: Account, bob: Account, enter: Enter) -> None:
    room = _group(alice, bob)
    message = alice.post(f"rooms/{room}/messages", payload={"text": "not for me"})["id"]
    alice.post(f"rooms/{room}/messages", payload={"text": "for all"})
    a, b = enter(alice), enter(bob)
    for one in (a, b):
        one.open_chat("A room")
        one.receives("not for me", "for all")
    _menu(b, message, "menu-delete-me")
    b.receives("for all")
    assert a.texts == ["not for me", "for all"]
    b.driver.refresh()
    b.online()
    b.receives("for all")


def test_an_answer_shows_what_it_answers_and_calls_whom_it_names(alice: Account, bob: Account, enter: Enter) -> None:
    room = _group(alice, bob)
    question = bob.post(f"rooms/{room}/messages", payload={"text": "Tea?"})["id"]
    a, b = enter(alice), enter(bob)
    a.open_chat("A room")
    _menu(a, question, "menu-reply")
    a.shows("composer-about", "Tea?")
    field = a.one("composer-text")
    field.send_keys(f"yes @{bob.username[:8]}")
    a.one("mentions")
    field.send_keys(Keys.ENTER)
    field.send_keys("please", Keys.ENTER)
    a.shows("message-quote", "Tea?")
    b.one("chat-mention")
    b.open_chat("A room")
    b.shows("message-quote", "Tea?")
    stored = bob.get(f"rooms/{room}/messages")["results"][-1]
    assert (stored["encrypted"], stored["payload"], "mentions" in stored) == (True, None, False)  # Bob's page has both
    b.gone("chat-mention")


def test_a_picture_is_attached_and_seen(alice: Account, bob: Account, enter: Enter, tmp_path: Path) -> None:
    _group(alice, bob)
    out = io.BytesIO()
    Image.new("RGB", (320, 200), (20, 120, 200)).save(out, "PNG")
    picture = tmp_path / "sea.png"
    picture.write_bytes(out.getvalue())
    a, b = enter(alice), enter(bob)
    for one in (a, b):
        one.open_chat("A room")
    a.run("document.querySelector('[data-testid=composer-files]').hidden = false")
    a.one("composer-files").send_keys(str(picture))
    a.until(lambda: a.all("tray-file", done="true"), "it is uploaded")
    a.one("composer-send").click()
    for one in (a, b):
        one.until(
            lambda one=one: one.run("return document.querySelector('.picture img')?.naturalWidth > 0"),
            "the picture shows",
        )
    assert not a.all("tray-file")


def test_a_group_is_pinned_archived_and_its_members_kept_in_order(
    alice: Account, bob: Account, carol: Account, enter: Enter
) -> None:
    room = _group(alice, bob, carol)
    a, b = enter(alice), enter(bob)
    for one in (a, b):
        one.open_chat("A room")
    a.click("chat-info")
    a.until(lambda: len(a.all("member")) == 3, "the members are listed")
    _click(a, f"[data-user-id='{bob.id}'] [data-testid=member-more]")
    a.one("member-mute").click()
    b.shows("barred", "muted")
    a.until(lambda: "muted" in a.one("member", user_id=bob.id).text, "the mute is shown")
    _click(a, "[data-testid=room-archive]")
    a.until(lambda: alice.get(f"rooms/{room}")["preferences"]["archived"], "it is archived")
    _click(a, f"[data-user-id='{bob.id}'] [data-testid=member-more]")
    a.one("member-ban").click()
    a.one("confirm-yes").click()
    b.one("chat-empty")


def test_an_invitation_waits_and_is_accepted(alice: Account, bob: Account, enter: Enter) -> None:
    room = alice.room()
    b = enter(bob)
    alice.post(f"rooms/{room}/invitations", user_ids=[bob.id])
    b.one("show-invitations").click()
    b.one("invitation", room_id=room)
    b.one("invitation-join").click()
    b.shows("chat-title", "A room")
    b.gone("show-invitations")


def test_a_link_leads_into_the_group(alice: Account, bob: Account, enter: Enter) -> None:
    room = alice.room()
    token = alice.post(f"rooms/{room}/invites")["token"]
    b = enter(bob)
    b.open(f"/?invite={token}")
    b.one("confirm-yes").click()
    b.shows("chat-title", "A room")


def test_a_message_is_reported(alice: Account, bob: Account, enter: Enter) -> None:
    room = _group(alice, bob)
    message = alice.post(f"rooms/{room}/messages", payload={"text": "buy!"})["id"]
    b = enter(bob)
    b.open_chat("A room")
    _menu(b, message, "menu-report")
    b.one("report-send").click()
    b.shows("toast", "Thank you")
    assert [one["subject_type"] for one in bob.get("reports")["results"]] == ["message"]


def test_the_menu_of_a_message_is_worked_by_keys(alice: Account, enter: Enter) -> None:
    room = alice.room()
    message = alice.post(f"rooms/{room}/messages", payload={"text": "keys"})["id"]
    a = enter(alice)
    a.open_chat("A room")
    a.receives("keys")
    a.run("document.querySelector(`[data-id='${arguments[0]}'] .message-menu`).focus()", message)
    a.press(Keys.ENTER)
    a.one("menu-reply")
    assert a.focused == "menu-reply"
    a.press(Keys.ARROW_DOWN)
    assert a.focused == "menu-edit"
    a.press(Keys.ESCAPE)
    a.gone("menu-edit")
    assert a.focused == "message-menu"
    a.one("composer-text").send_keys(Keys.ARROW_UP)
    a.shows("composer-about", "Edit message")
    a.press(Keys.ESCAPE)
    a.gone("composer-about")


def _click(browser: Browser, selector: str) -> None:
    """Presses something that may be scrolled out of view."""
    browser.until(
        lambda: browser.run(
            "const e = document.querySelector(arguments[0]); e?.scrollIntoView(); e?.click(); return !!e",
            selector,
        ),
        f"{selector} can be pressed",
    )
