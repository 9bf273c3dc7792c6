"""Calls from Python: races on all databases, signals once, retention, checks, the admin."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connections
from django.test import Client, override_settings
from django.urls import reverse
from django.utils import timezone

from mana import accounts, calls, signals
from mana.messaging import services as messaging
from mana.observability.metrics import page
from mana.protocol import ErrorCode, ManaError
from mana_rtc import stores
from mana_rtc.checks import check_ice, check_turn_secrets
from mana_rtc.ice import credentials, ice_servers
from mana_rtc.models import Call, CallParticipant
from tests.support.databases import ROOT

pytestmark = [pytest.mark.database, pytest.mark.django_db(transaction=True)]

PHONE, DESK = calls.Leg("session-phone", "phone"), calls.Leg("session-desk", "desk")


def people(count: int) -> list[Any]:
    return [accounts.register(username=f"caller{number}", password="a-long-one-7") for number in range(count)]


def at_once(*functions: Callable[[], Any]) -> list[ErrorCode]:
    """Runs functions in threads that begin together; the codes of what refused."""
    codes: list[ErrorCode] = []
    failures: list[BaseException] = []
    start = threading.Barrier(len(functions))

    def run(function: Callable[[], Any]) -> None:
        start.wait(10)
        try:
            function()
        except ManaError as error:
            codes.append(error.code)
        except BaseException as error:
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures, failures
    return codes


@pytest.fixture
def heard() -> Iterator[list[tuple[str, str, str]]]:
    """(signal, call, reason) of all calls that began and ended."""
    told: list[tuple[str, str, str]] = []

    def began(call: Call, **_: Any) -> None:
        told.append(("started", call.key, ""))

    def ended(call: Call, **_: Any) -> None:
        told.append(("ended", call.key, str(call.reason)))

    signals.call_started.connect(began)
    signals.call_ended.connect(ended)
    yield told
    signals.call_started.disconnect(began)
    signals.call_ended.disconnect(ended)


def age(call: Call, **fields: int) -> None:
    """Has what the database's clock is compared with be so many seconds ago."""
    for name, seconds in fields.items():
        rows = CallParticipant.objects.filter(call=call, **{f"{name}__isnull": False})
        rows.update(**{name: stores.ago(seconds)})


def test_of_two_devices_that_answer_at_once_one_does(heard: list[Any]) -> None:
    one, two = people(2)
    room = messaging.direct_room(one, two).room
    for _ in range(5):
        call = calls.start(room, one)
        codes = at_once(
            lambda: calls.answer(call.key, two, leg=PHONE),  # noqa: B023
            lambda: calls.answer(call.key, two, leg=DESK),  # noqa: B023
        )
        assert codes == [ErrorCode.CONFLICT]
        row = CallParticipant.objects.get(call=call, user=two)
        assert (row.state, row.device_id in ("phone", "desk")) == ("joined", True)
        calls.hang_up(call.key, one)
    assert [what for what, _, _ in heard] == ["started", "ended"] * 5


def test_two_who_call_each_other_at_the_same_time_have_one_call(heard: list[Any]) -> None:
    one, two = people(2)
    room = messaging.direct_room(one, two).room
    for _ in range(5):
        assert at_once(lambda: calls.start(room, one, leg=PHONE), lambda: calls.start(room, two, leg=DESK)) == []
        call = stores.live_in(room.key)
        assert call is not None
        assert (call.state, call.participants.filter(state="joined").count()) == ("accepted", 2)
        calls.hang_up(call.key, two)
    assert Call.objects.count() == 5
    assert len(heard) == 10


def test_cancel_against_answer_leaves_one_outcome(heard: list[Any]) -> None:
    one, two = people(2)
    room = messaging.direct_room(one, two).room
    for _ in range(5):
        call = calls.start(room, one)
        codes = at_once(lambda: calls.hang_up(call.key, one), lambda: calls.answer(call.key, two))  # noqa: B023
        assert codes in ([], [ErrorCode.CONFLICT])
        call.refresh_from_db()
        assert (call.state, call.reason, call.live_in) == ("ended", "hangup", None)
        assert (call.answered_at is None) == (codes == [ErrorCode.CONFLICT])
        assert not CallParticipant.objects.filter(state__in=("ringing", "joined")).exists()
        assert not CallParticipant.objects.exclude(busy_as=None).exists()
    assert len(heard) == 10


def test_all_sweepers_and_a_hang_up_end_a_call_once(heard: list[Any]) -> None:
    one, two = people(2)
    room = messaging.direct_room(one, two).room
    for _ in range(5):
        call = calls.start(room, one)
        calls.answer(call.key, two)
        age(call, seen_at=3600)
        at_once(calls.sweep, calls.sweep, calls.sweep, lambda: calls.hang_up(call.key, one))  # noqa: B023
        call.refresh_from_db()
        assert (call.state, call.reason in ("disconnected", "hangup")) == ("ended", True)
    assert [what for what, _, _ in heard] == ["started", "ended"] * 5


def test_one_person_answers_two_calls_at_once_and_is_in_one() -> None:
    one, two, three = people(3)
    first = calls.start(messaging.direct_room(one, three).room, one)
    second = calls.start(messaging.direct_room(two, three).room, two)
    codes = at_once(
        lambda: calls.answer(first.key, three, leg=PHONE), lambda: calls.answer(second.key, three, leg=DESK)
    )
    assert codes == [ErrorCode.CONFLICT]
    assert CallParticipant.objects.filter(user=three, state="joined").count() == 1


@override_settings(MANA={"ONE_CALL_AT_A_TIME": False})
def test_a_project_may_let_people_be_in_several_calls() -> None:
    one, two, three = people(3)
    first = calls.start(messaging.direct_room(one, three).room, one)
    calls.answer(first.key, three, leg=PHONE)
    second = calls.start(messaging.direct_room(two, three).room, two)
    assert calls.answer(second.key, three, leg=DESK).state == "accepted"


def test_the_sweep_finds_what_nobody_ended(heard: list[Any]) -> None:
    one, two, three = people(3)
    missed = calls.start(messaging.direct_room(one, two).room, one)
    age(missed, rung_at=3600)
    assert calls.sweep() is True
    missed.refresh_from_db()
    assert (missed.state, missed.reason) == ("ended", "missed")
    room = messaging.create_room(one, name="Three", members=[two, three]).room
    group = calls.start(room, one)
    calls.answer(group.key, two)
    age(group, rung_at=3600)
    calls.sweep()
    group.refresh_from_db()
    assert (group.state, group.participants.get(user=three).state) == ("accepted", "missed")
    age(group, seen_at=3600)
    calls.sweep()
    group.refresh_from_db()
    assert (group.state, group.reason) == ("ended", "disconnected")
    deserted = calls.start(room, one)
    CallParticipant.objects.filter(call=deserted).delete()
    calls.sweep()
    deserted.refresh_from_db()
    assert (deserted.state, deserted.reason) == ("ended", "disconnected")
    assert calls.sweep() is False
    assert [what for what, _, _ in heard] == ["started", "ended"] * 3


def test_membership_and_blocks_are_looked_at_also_where_no_signal_told() -> None:
    from mana.contacts.models import Block
    from mana.messaging.models import Membership

    one, two, three = people(3)
    room = messaging.create_room(one, name="Three", members=[two, three]).room
    group = calls.start(room, one)
    calls.answer(group.key, two)
    calls.answer(group.key, three)
    Membership.objects.filter(room=room, user=three).update(state=Membership.State.BANNED)
    calls.sweep()
    assert group.participants.get(user=three).state == "removed"
    calls.end_as_staff(group.key)
    direct = calls.start(messaging.direct_room(one, two).room, one)
    Block.objects.create(user=two, person=one)
    calls.sweep()
    direct.refresh_from_db()
    assert direct.state == "ended"


def test_a_caller_without_the_permission_is_refused() -> None:
    one, two = people(2)
    room = messaging.create_room(one, name="Two", members=[two]).room
    accounts.revoke(two, "user")  # a guest is left
    with pytest.raises(ManaError) as refusal:
        calls.start(room, two)
    assert refusal.value.code is ErrorCode.FORBIDDEN
    call = calls.start(room, one)
    assert calls.answer(call.key, two).state == "accepted"
    with pytest.raises(ManaError):
        calls.end(call.key, two)
    accounts.grant(two, "end_call")
    assert calls.end(call.key, two).state == "ended"


def test_large_rooms_are_not_rung() -> None:
    everybody = people(5)
    room = messaging.create_room(everybody[0], name="Hall", members=everybody[1:]).room
    with override_settings(MANA={"RING_MAX_ROOM": 3}):
        call = calls.start(room, everybody[0])
    assert list(call.participants.values_list("state", flat=True)) == ["joined"]
    assert calls.answer(call.key, everybody[3]).state == "accepted"


def test_a_call_joins_the_callers_transaction(heard: list[Any]) -> None:
    from django.db import transaction

    one, two = people(2)
    room = messaging.create_room(one, name="Two", members=[two]).room

    def begin_and_fail() -> None:
        with transaction.atomic():
            calls.start(room, one)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        begin_and_fail()
    assert not Call.objects.exists()
    assert heard == []


def test_the_async_twins_do_the_same() -> None:
    one, two = people(2)
    room = messaging.create_room(one, name="Two", members=[two]).room

    async def call() -> list[str]:
        begun = await calls.astart(room, one)
        answered = await calls.aanswer(begun.key, two)
        return [str(answered.state), str((await calls.aend_as_staff(begun.key)).state)]

    assert async_to_sync(call)() == ["accepted", "ended"]


def test_missed_calls_of_muted_rooms_are_not_notified() -> None:
    from mana import notifications

    one, two, three = people(3)
    room = messaging.create_room(one, name="Loud", members=[two, three]).room
    messaging.set_preferences(room.key, two, notifications="none")
    call = calls.start(room, one)
    calls.hang_up(call.key, one)
    assert (notifications.unread_count(two), notifications.unread_count(three)) == (0, 1)


def test_old_calls_are_pruned() -> None:
    one, two = people(2)
    room = messaging.create_room(one, name="Two", members=[two]).room
    old, new, live = calls.start(room, one), None, None
    calls.end_as_staff(old.key)
    new = calls.start(room, one)
    calls.end_as_staff(new.key)
    live = calls.start(room, one)
    Call.objects.filter(pk__in=[old.pk, live.pk]).update(created_at=timezone.now() - timedelta(days=400))
    Call.objects.filter(pk=old.pk).update(ended_at=timezone.now() - timedelta(days=400))
    call_command("mana_prune", stdout=StringIO())
    assert set(Call.objects.values_list("pk", flat=True)) == {new.pk, live.pk}


def test_calls_are_counted_without_names() -> None:
    def count(text: str) -> float:
        lines = [line for line in page().decode().splitlines() if line.startswith(text + " ")]
        return float(lines[0].split()[1])

    before = count("mana_calls_started_total"), count('mana_calls_ended_total{reason="rejected"}')
    one, two = people(2)
    call = calls.start(messaging.direct_room(one, two).room, one)
    calls.reject(call.key, two)
    after = count("mana_calls_started_total"), count('mana_calls_ended_total{reason="rejected"}')
    assert (after[0] - before[0], after[1] - before[1]) == (1, 1)


def test_the_doctor_speaks_of_calls() -> None:
    from mana.observability.doctor.report import Report
    from mana_rtc.doctor import examine_calls

    one, two = people(2)
    call = calls.start(messaging.direct_room(one, two).room, one)
    report = Report()
    examine_calls(report)
    assert [entry.detail for entry in report.entries if entry.name == "calls"] == ["1 go on"]
    age(call, rung_at=3600)
    report = Report()
    examine_calls(report)
    assert [str(entry.result) for entry in report.entries if entry.name == "calls"] == ["warning"]


def test_the_admin_shows_calls_and_ends_those_that_go_on(heard: list[Any]) -> None:
    one, two = people(2)
    call = calls.start(messaging.direct_room(one, two).room, one)
    browser = Client()
    browser.force_login(get_user_model()._default_manager.create_superuser("root"))  # type: ignore[attr-defined]
    assert call.key in browser.get(reverse("admin:mana_rtc_call_changelist")).content.decode()
    opened = browser.get(reverse("admin:mana_rtc_call_change", args=[call.pk]))
    assert (opened.status_code, b'name="_save"' in opened.content, b"deletelink" in opened.content) == (
        200,
        False,
        False,
    )
    assert browser.get(reverse("admin:mana_rtc_call_add")).status_code == 403
    answer = browser.post(
        reverse("admin:mana_rtc_call_changelist"), {"action": "end", "_selected_action": [call.pk]}, follow=True
    )
    assert b"1 calls were ended" in answer.content
    call.refresh_from_db()
    assert (call.state, call.reason) == ("ended", "hangup")
    assert len(heard) == 2


def test_credentials_are_those_that_coturn_computes() -> None:
    name, password = credentials("7", "secret", 1_700_000_000)
    assert name == "1700000000:7"
    assert base64.b64decode(password) == hmac.new(b"secret", b"1700000000:7", hashlib.sha1).digest()
    turn = {"TURN_SERVERS": ["turn:t.example.com"], "TURN_USERNAME": "all", "TURN_PASSWORD": "of-us"}
    with override_settings(MANA={**turn, "ICE_TRANSPORT_POLICY": "relay"}):
        told = ice_servers("7")
    assert (told.ice_servers[0].username, told.ice_servers[0].credential) == ("all", "of-us")
    assert (told.ice_transport_policy, told.expires_in) == ("relay", None)
    with override_settings(MANA={}):
        assert ice_servers("7").ice_servers == []


@pytest.mark.parametrize(
    ("mana", "ids"),
    [
        ({}, []),
        ({"STUN_SERVERS": ["stun:stun.example.com:3478", "stun:[2001:db8::1]"]}, []),
        ({"STUN_SERVERS": ["stun.example.com"]}, ["mana.E060"]),
        ({"TURN_SERVERS": ["turn:a?transport=sctp"], "TURN_SECRET": "x" * 32}, ["mana.E060"]),
        ({"TURN_SERVERS": ["turns:a:5349?transport=tcp"]}, ["mana.E061", "mana.W060"]),
        ({"TURN_SERVERS": ["turn:a"], "TURN_USERNAME": "u", "TURN_PASSWORD": "p"}, ["mana.W060"]),
        ({"TURN_SERVERS": ["turn:a"], "TURN_SECRET": "short"}, ["mana.W061"]),
        ({"ICE_TRANSPORT_POLICY": "relay"}, ["mana.E062"]),
    ],
)
def test_the_checks_see_what_browsers_would_refuse(mana: dict[str, Any], ids: list[str]) -> None:
    with override_settings(MANA=mana):
        assert [message.id for message in (*check_ice(), *check_turn_secrets())] == ids


def test_nothing_of_calls_is_loaded_where_they_are_not_installed() -> None:
    script = """
import sys, django
django.setup()
import mana.urls, mana.asgi
from django.core.management import call_command
call_command("check")
from mana.realtime.dispatch import features
assert "call_start" not in features()
assert not any(getattr(route, "name", "") == "calls" for route in mana.urls.api)
print(sorted(name for name in sys.modules if name.split(".")[0] in ("mana_rtc", "aiortc")))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.rtc.calls.without_settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stdout + done.stderr


def test_a_deleted_account_leaves_its_calls(heard: list[Any]) -> None:
    one, two = people(2)
    call = calls.start(messaging.direct_room(one, two).room, one)
    calls.answer(call.key, two)
    accounts.delete_account(two)
    calls.sweep()
    call.refresh_from_db()
    assert call.state == "ended"
    assert [what for what, _, _ in heard] == ["started", "ended"]
