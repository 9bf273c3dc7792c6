"""Notifications: stored, live, read everywhere, as people wish."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import override_settings

from mana import accounts, contacts, notifications, preferences, signals
from mana.messaging import services
from mana.notifications import occasions, wishes
from mana.notifications.models import Notification
from mana.protocol import ErrorCode, ManaError
from tests.support import databases
from tests.support.client import Account

NIGHT = {"start": "22:00", "end": "07:00", "time_zone": "Europe/Berlin"}


def in_server(account: Account, code: str) -> None:
    """Runs code of the project, with ``user`` and ``others``, in another process on the server's database."""
    script = (
        "from django.contrib.auth import get_user_model\n"
        "from mana import notifications\n"
        f"user = get_user_model().objects.get(pk={account.id})\n{code}"
    )
    databases.manage("shell", "--no-imports", "-c", script, database_url=account.server.database_url)


# -- Over REST and live ----------------------------------------------------------------------------------------------


async def test_a_request_to_become_contacts_notifies_every_device(alice: Account, bob: Account) -> None:
    async with bob.socket() as phone, bob.socket() as desk, alice.socket() as a:
        alice.post("contacts", user_id=bob.id)
        frame = await phone.expect("notification")
        assert (await desk.expect("notification"))["id"] == frame["id"]
        assert (frame["kind"], frame["data"]) == ("contact_request", {"user_id": alice.id})
        assert alice.username in frame["title"]
        bob.post(f"contacts/requests/{alice.id}/accept")
        assert (await a.expect("notification"))["kind"] == "contact_accepted"


async def test_what_came_while_away_is_listed_and_read_on_all_devices(alice: Account, bob: Account) -> None:
    in_server(alice, "for n in range(3): notifications.send(user, f'Number {n}', 'text', {'n': n})")
    listed = alice.get("notifications")["results"]
    assert [row["title"] for row in listed] == ["Number 2", "Number 1", "Number 0"]
    assert (listed[0]["data"], listed[0]["read"]) == ({"n": 2}, False)
    assert alice.get("notifications/unread") == {"unread": 3}
    async with alice.socket() as other:
        assert alice.post("notifications/read", ids=[listed[0]["id"]]) == {"unread": 2}
        assert await other.expect("notification_read") == {
            "type": "notification_read",
            "ids": [listed[0]["id"]],
            "unread": 2,
        }
        assert bob.post("notifications/read", ids=[listed[1]["id"]]) == {"unread": 0}
        assert [row["title"] for row in alice.get("notifications", unread="true")["results"]] == [
            "Number 1",
            "Number 0",
        ]
        assert alice.post("notifications/read") == {"unread": 0}
        assert "ids" not in await other.expect("notification_read")
        assert alice.http.delete(f"/api/notifications/{listed[2]['id']}").status_code == 204
        assert (await other.expect("notification_read"))["ids"] == [listed[2]["id"]]
    assert bob.http.delete(f"/api/notifications/{listed[0]['id']}").json()["code"] == "not_found"
    assert len(alice.get("notifications")["results"]) == 2


def test_the_list_has_pages(alice: Account) -> None:
    in_server(alice, "for n in range(5): notifications.send(user, f'Number {n}')")
    page = alice.get("notifications", limit=2)
    titles = [row["title"] for row in page["results"]]
    while page["next"]:
        page = alice.http.get(page["next"]).json()
        titles += [row["title"] for row in page["results"]]
    assert titles == [f"Number {n}" for n in (4, 3, 2, 1, 0)]


def test_wrong_ids_are_refused_and_read_nothing(alice: Account) -> None:
    assert alice.http.post("/api/notifications/read", json={"ids": ["nonsense"]}).status_code == 400
    assert alice.http.post("/api/notifications/read", json={"ids": "all"}).status_code == 400


# -- From Python -----------------------------------------------------------------------------------------------------


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
class TestFromPython:
    @pytest.fixture
    def ann(self) -> Any:
        """Somebody."""
        return accounts.register(username="ann", password="a-long-one-7")

    @pytest.fixture
    def bob(self) -> Any:
        """Somebody else."""
        return accounts.register(username="bob", password="a-long-one-7")

    def test_a_broadcast_reaches_all_active_users(self, ann: Any, bob: Any) -> None:
        accounts.register(username="gone", password="a-long-one-7")
        gone = type(ann)._default_manager.get(username="gone")
        gone.is_active = False
        gone.save()
        assert notifications.broadcast("Maintenance at noon") == 2
        assert notifications.broadcast("Only you", users=[ann]) == 1
        assert (notifications.unread_count(ann), notifications.unread_count(bob)) == (2, 1)

    def test_a_broadcast_costs_few_queries(self, django_assert_max_num_queries: Any) -> None:
        from django.contrib.auth import get_user_model

        users = get_user_model()._default_manager
        users.bulk_create([get_user_model()(username=f"many{number}") for number in range(100)])
        with django_assert_max_num_queries(15):
            assert notifications.broadcast("Hello") == 100

    def test_it_joins_the_callers_transaction(self, ann: Any) -> None:
        from django.db import transaction

        def order() -> None:
            with transaction.atomic():
                notifications.send(ann, "Never")
                raise LookupError

        with pytest.raises(LookupError):
            order()
        assert notifications.unread_count(ann) == 0

    def test_what_is_too_much_is_cut_or_refused(self, ann: Any) -> None:
        row = notifications.send(ann, "x" * 500 + "\x00", "y" * 5000, kind="z" * 99)
        assert (len(row.title), len(row.body), len(row.kind)) == (200, 2000, 40)
        with pytest.raises(ManaError) as too_large:
            notifications.send(ann, "Big", data="x" * 40_000)
        assert too_large.value.code is ErrorCode.TOO_LARGE
        with pytest.raises(ManaError):
            notifications.send(ann, "Strange", data=object())

    def test_the_oldest_go_when_there_are_too_many(self, ann: Any) -> None:
        with override_settings(MANA={"MAX_NOTIFICATIONS": 3}):
            for number in range(5):
                notifications.send(ann, f"Number {number}")
        kept = Notification.objects.filter(user=ann).order_by("created_at", "pk")
        assert [row.title for row in kept] == ["Number 2", "Number 3", "Number 4"]

    @pytest.mark.parametrize(
        ("level", "of_room", "kind", "stored"),
        [
            ("all", None, "message", True),
            ("mentions", None, "message", False),
            ("mentions", None, "mention", True),
            ("none", None, "mention", False),
            ("none", "all", "message", True),
            ("all", "none", "mention", False),
            ("all", "mentions", "message", False),
        ],
    )
    def test_a_room_notifies_as_its_member_wishes(
        self, ann: Any, level: str, of_room: str | None, kind: str, stored: bool
    ) -> None:
        preferences.set(ann, "notifications.level", level)
        services.create_room(ann, name="Kitchen", key="kitchen")
        services.set_preferences("kitchen", ann, notifications=of_room)
        row = notifications.send(ann, "Tea?", kind=kind, room="kitchen")
        assert (row is not None) is stored

    def test_who_wants_nothing_gets_what_concerns_them_silently(self, ann: Any) -> None:
        preferences.set(ann, "notifications.level", "none")
        assert notifications.send(ann, "Your order").is_silent

    @pytest.mark.parametrize(
        ("moment", "quiet"),
        [("20:59", False), ("21:00", True), ("23:30", True), ("05:59", True), ("06:00", False)],
    )
    def test_quiet_hours_go_over_midnight_in_the_users_own_time(self, moment: str, quiet: bool) -> None:
        winter = datetime.fromisoformat(f"2026-01-15T{moment}:00").replace(tzinfo=UTC)  # Berlin is an hour ahead
        assert wishes.is_quiet(NIGHT, winter) is quiet

    def test_mentions_notify_the_mentioned_but_not_the_author(self, ann: Any, bob: Any) -> None:
        room = services.create_room(ann, name="Kitchen", members=[bob]).room
        message = services.send(room, ann, {"text": "Tea, @bob?"}, mentions=[str(bob.pk), str(ann.pk)])
        assert notifications.unread_count(ann) == 0
        row = Notification.objects.get(user=bob)
        assert (row.title, row.body, row.kind) == ("ann mentioned you in Kitchen", "Tea, @bob?", "mention")
        assert row.data == {"room_id": room.key, "message_id": str(message.pk), "index": message.index}

    def test_a_mention_of_everybody_notifies_all_members(self, ann: Any, bob: Any) -> None:
        room = services.create_room(ann, name="Kitchen", members=[bob]).room
        with override_settings(MANA={"MENTION_ALL_MAX_ROOM": 1}):
            services.send(room, ann, "quiet", mentions=["@all"])
        services.send(room, ann, "Tea!", mentions=["@all"])
        assert [row.body for row in Notification.objects.filter(user=bob)] == ["Tea!"]

    def test_a_room_that_its_member_has_silenced_does_not_notify(self, ann: Any, bob: Any) -> None:
        room = services.create_room(ann, name="Kitchen", members=[bob]).room
        membership = room.memberships.get(user=bob)
        for level, stored in (("none", 0), ("mentions", 1)):
            membership.notifications = level
            membership.save()
            services.send(room, ann, "Tea?", mentions=[str(bob.pk)])
            assert Notification.objects.filter(user=bob).count() == stored

    def test_an_encrypted_message_shows_nothing(self) -> None:
        assert occasions.excerpt(json.dumps({"ciphertext": "x"})) == ""
        assert occasions.excerpt('"plain"') == "plain"

    def test_the_projects_code_is_told(self, ann: Any) -> None:
        told: list[Any] = []

        def receiver(sender: Any, notifications: list[Any], **kwargs: Any) -> None:
            told.extend(notifications)

        signals.notifications_sent.connect(receiver)
        try:
            row = notifications.send(ann, "Hello")
        finally:
            signals.notifications_sent.disconnect(receiver)
        assert told == [row]

    def test_the_functions_have_async_twins(self, ann: Any) -> None:
        async def main() -> None:
            row = await notifications.asend(ann, "Hello")
            assert await notifications.aunread_count(ann) == 1
            assert await notifications.amark_read(ann, [row.pk]) == 0
            assert await notifications.abroadcast("All") == 1

        async_to_sync(main)()

    def test_a_request_between_contacts_notifies_whoever_makes_it(self, ann: Any, bob: Any) -> None:
        contacts.request(ann, bob)
        contacts.accept(bob, ann)
        assert [row.kind for row in Notification.objects.order_by("pk")] == ["contact_request", "contact_accepted"]
