"""The small examples: what each shows is so, in the database, in browsers, over two nodes, and in a call."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse

from demo_project.examples.custom_db.models import Item, Order
from demo_project.examples.custom_db.services import SoldOut, place_order
from mana import accounts, contacts
from mana.messaging.models import Message
from mana.notifications.models import Notification
from mana.protocol import ErrorCode, ManaError
from mana_rtc.callbot import CallBot
from mana_rtc.recorder import Limits, Recorder
from tests.support import databases
from tests.support.browser import Browser
from tests.support.client import Account
from tests.support.instances import instance
from tests.support.server import Server, serving
from tests.support.tone import pictures_of, pitch_of, write_tone

ORDERS, TELL = reverse("examples:orders"), reverse("examples:notification")
database = [pytest.mark.database, pytest.mark.django_db(transaction=True)]


def _marked(test: Any) -> Any:
    for mark in database:
        test = mark(test)
    return test


@pytest.fixture
def people() -> tuple[Any, Any]:
    """A seller and a customer."""
    seller, customer = (accounts.register(username=name, password="tea-and-biscuits-7") for name in ("sam", "cleo"))
    return seller, customer


def _texts() -> list[str]:
    return [row.payload["text"] for row in Message.objects.filter(kind="message").order_by("sequence")]


# -- custom_db -------------------------------------------------------------------------------------------------------


@_marked
def test_an_order_and_its_message_are_stored_together(people: tuple[Any, Any]) -> None:
    seller, customer = people
    item = Item.objects.create(name="Tea", stock=2, seller=seller)
    order = place_order(customer, item)
    message = Message.objects.get(pk=order.message_id)
    assert (message.sender_id, message.payload) == (customer.pk, {"text": f"Order {order.pk}: Tea", "order": order.pk})
    assert message.sequence is not None
    item.refresh_from_db()
    assert (item.stock, Order.objects.get().message_id) == (1, message.pk)


@_marked
def test_of_what_is_sold_out_there_is_neither_order_nor_message(people: tuple[Any, Any]) -> None:
    seller, customer = people
    item = Item.objects.create(name="Tea", stock=1, seller=seller)
    place_order(customer, item)
    with pytest.raises(SoldOut):
        place_order(customer, item)
    item.refresh_from_db()
    assert (item.stock, Order.objects.count(), len(_texts())) == (0, 1, 1)


@_marked
def test_across_a_block_nothing_is_ordered(people: tuple[Any, Any]) -> None:
    seller, customer = people
    item = Item.objects.create(name="Tea", stock=1, seller=seller)
    contacts.block(seller, customer)
    with pytest.raises(ManaError) as refusal:
        place_order(customer, item)
    item.refresh_from_db()
    assert refusal.value.code is ErrorCode.FORBIDDEN
    assert (item.stock, Order.objects.count(), _texts()) == (1, 0, [])


@_marked
def test_the_page_says_what_came_of_an_order(people: tuple[Any, Any], client: Client) -> None:
    seller, customer = people
    item = Item.objects.create(name="<b>Tea</b>", stock=1, seller=seller)
    assert client.get(ORDERS).status_code == 302
    client.force_login(customer)
    assert "is placed" in client.post(ORDERS, {"item": item.pk}, follow=True).content.decode()
    page = client.post(ORDERS, {"item": item.pk}, follow=True).content.decode()
    assert "sold out. Nothing was ordered" in page
    assert "&lt;b&gt;Tea" in page
    assert "<b>Tea" not in page
    for nothing in ("", "x", "-1", "9" * 30, str(item.pk + 1), "²"):
        assert client.post(ORDERS, {"item": nothing}).status_code == 404
    client.force_login(seller)
    assert "Nothing was ordered" in client.post(ORDERS, {"item": item.pk}, follow=True).content.decode()
    assert Order.objects.count() == 1


# -- notification ----------------------------------------------------------------------------------------------------


@_marked
def test_everybody_is_told_by_staff_only(people: tuple[Any, Any], client: Client) -> None:
    seller, customer = people
    client.force_login(customer)
    client.post(TELL, {"title": "x" * 300, "to": "me"})
    client.post(TELL, {"title": "   ", "to": "me"})
    assert "Only staff" in client.post(TELL, {"title": "Free tea", "to": "all"}, follow=True).content.decode()
    assert [(one.user_id, len(one.title)) for one in Notification.objects.all()] == [(customer.pk, 200)]
    get_user_model()._default_manager.filter(pk=seller.pk).update(is_staff=True)
    client.force_login(seller)
    assert "2 people were told" in client.post(TELL, {"title": "Free tea", "to": "all"}, follow=True).content.decode()
    assert Notification.objects.filter(title="Free tea").count() == 2


@pytest.mark.slow
def test_a_notification_comes_to_both_pages_and_stays(alice: Account, enter: Callable[[Account], Browser]) -> None:
    one, other = enter(alice), enter(alice)
    for browser in (one, other):
        browser.open(TELL)
        browser.one("tell-me")
    one.click("tell-me")
    for browser in (one, other):
        browser.shows("notification", "Your order is on its way")
        browser.shows("unread", "(1 unread)")
    alice.post("notifications/read")
    other.until(lambda: not other.all("unread"), "the number is gone")


# -- play ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_file_is_played_into_a_call(tmp_path: Path) -> None:
    """Ann answers, and has what she hears and sees written down."""
    file = write_tone(tmp_path / "tone.webm", 5)
    written: list[dict[str, Any]] = []
    recorder = Recorder(tmp_path, Limits(most_bytes=2**30, most_tracks=2), written.append)
    rung: asyncio.Queue[str] = asyncio.Queue()

    def came(frame: dict[str, Any]) -> None:
        if frame["type"] == "call_start":
            rung.put_nowait(frame["call_id"])

    with databases.fresh("sqlite") as url, serving(url, MANA_RTC_ADDRESSES="127.0.0.1") as node:
        ann, robot = Account(node), Account(node)
        room = ann.room(robot)
        async with CallBot([node.ws], lambda: ann.access, on_track=recorder.track, on_frame=came) as bot:
            player = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "demo_project.examples.play.player", room, str(file)),
                *("--as", robot.username, "--site", node.http),
                cwd=databases.ROOT,
                env={**os.environ, "PLAYER_PASSWORD": robot.password},
            )
            async with asyncio.timeout(90):
                call = await rung.get()
                await bot.request("call_accept", call_id=call)
                await bot.join(room)
                assert await player.wait() == 0
            await recorder.stop()
        found = {one["user_id"]: one["state"] for one in ann.get(f"rtc/calls/{call}")["participants"]}
        assert found[robot.id] == "left"
    files = {one["source"]: Path(one["path"]) for one in written if one["event"] == "finished"}
    assert pitch_of(files["microphone"]) == pytest.approx(440, rel=0.05)
    pictures = pictures_of(files["camera"])
    assert {picture[1:] for picture in pictures} == {(160, 120)}
    assert pictures[-1][0] > 2  # seconds


# -- clustering, minimal, and the page that lists them ----------------------------------------------------------------


@pytest.mark.slow
async def test_two_nodes_are_one_chat(browser: Callable[..., Browser]) -> None:
    with instance("redis") as redis, databases.fresh("sqlite") as url:
        shared = {"CHANNEL_LAYER_URL": redis.url}
        with (
            serving(url, MANA_NODE_ID="alpha", **shared) as alpha,
            serving(url, MANA_NODE_ID="beta", **shared) as beta,
        ):
            ann, ben = Account(alpha), Account(beta)
            page = browser(alpha)
            page.sign_in(ann.username, ann.password)
            page.open(reverse("examples:clustering"))
            page.shows("node", "alpha")
            async with ben.socket() as socket:
                await socket.request("join", room_id="example-clustering")
                page.until(
                    lambda: [row.text.split()[0] for row in page.all("cluster-node")] == ["alpha", "beta"], "both nodes"
                )
                page.one("text").send_keys("hello from alpha")
                page.click("say")
                assert (await socket.expect("message"))["payload"] == {"text": "hello from alpha"}
                await socket.request("message", room_id="example-clustering", payload={"text": "hello from beta"})
                page.shows("said", "hello from beta")
            page.open_nothing()


def test_the_smallest_server_is_that_of_the_quickstart() -> None:
    page = (databases.ROOT / "docs/quickstart.md").read_text(encoding="utf-8")
    (block, *_) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    code = (databases.ROOT / "demo_project/examples/minimal/chat.py").read_text(encoding="utf-8")
    assert code.endswith(block)


@pytest.mark.slow
def test_the_examples_are_listed_and_each_opens(alice: Account, enter: Callable[[Account], Browser]) -> None:
    browser = enter(alice)
    browser.open(reverse("examples:index"))
    links = [link.get_attribute("href") for link in browser.driver.find_elements("css selector", ".card a")]
    assert len(links) == 5
    with httpx.Client(cookies={one["name"]: one["value"] for one in browser.driver.get_cookies()}) as http:
        assert {http.get(str(link)).status_code for link in links} == {200}


@_marked
def test_the_demo_command_stocks_the_shop_once(capsys: pytest.CaptureFixture[str]) -> None:
    from django.core.management import call_command

    for _ in range(2):
        call_command("demo", "--prepare-only")
    assert dict(Item.objects.values_list("name", "stock")) == {"Tea": 100, "Biscuits": 1}
    assert "ready" in capsys.readouterr().out


def test_strangers_are_sent_to_the_sign_in(server: Server) -> None:
    for name in ("index", "orders", "notification", "clustering", "nodes"):
        answer = httpx.get(f"{server.http}{reverse(f'examples:{name}')}")
        assert (answer.status_code, answer.headers["Location"].split("?")[0]) == (302, "/login/")
