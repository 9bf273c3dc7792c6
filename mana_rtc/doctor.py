"""What ``manage.py mana_doctor`` says of calls."""

from __future__ import annotations

import socket
from importlib.util import find_spec
from urllib.parse import urlsplit

from mana.conf import settings
from mana.observability.doctor.report import Report
from mana.observability.doctor.report import reason as in_a_line
from mana_rtc import stores
from mana_rtc.models import Call
from mana_rtc.workers import stores as workers

#: Seconds that Janus has to take a connection.
JANUS_TIMEOUT = 2.0


def examine_calls(report: Report) -> None:
    """The servers that clients are told, the media server, and calls that nobody looks after."""
    _servers(report)
    _media_server(report)
    try:
        live, overdue = Call.objects.filter(live_in__isnull=False).count(), stores.unanswered().count()
    except Exception as error:
        report.fail("calls", in_a_line(error), "manage.py migrate")
        return
    if overdue:
        report.warn("calls", f"{live} go on, {overdue} people ring for too long", "No node runs that would end it.")
    else:
        report.ok("calls", f"{live} go on")


def _servers(report: Report) -> None:
    stun, turn = len(settings.STUN_SERVERS), len(settings.TURN_SERVERS)
    text = f"{stun} STUN, {turn} TURN servers, policy {settings.ICE_TRANSPORT_POLICY}"
    if turn == 0:
        report.note("ice servers", text, "Behind strict firewalls peers need MANA['TURN_SERVERS']; see docs/calls.md.")
    else:
        report.ok("ice servers", text)


def _media_server(report: Report) -> None:
    if settings.RTC_BACKEND == "mana_rtc.backends.workers":
        _workers(report)
    elif settings.RTC_BACKEND == "mana_rtc.backends.janus":
        _janus(report)
    elif find_spec("aiortc") is None:
        report.note("media server", "none: calls go from peer to peer", 'pip install "django-mana[rtc]"')
    else:
        report.ok("media server", settings.RTC_BACKEND)


def _workers(report: Report) -> None:
    try:
        rows = list(workers.living())
    except Exception as error:
        report.fail("media server", in_a_line(error), "manage.py migrate")
        return
    able = [row for row in rows if not row.is_draining]
    text = (
        f"{len(able)} workers, {sum(row.rooms for row in rows)} rooms, {sum(row.participants for row in rows)} people"
    )
    if not able:
        report.fail("media server", "no worker runs", "manage.py mana_sfu; see docs/rtc-media.md")
    elif all(row.busy >= workers.BUSY for row in able):
        report.warn("media server", f"{text}; all are busy", "Start more of manage.py mana_sfu.")
    else:
        report.ok("media server", text)


def _janus(report: Report) -> None:
    address = urlsplit(settings.JANUS_URL)
    port = address.port or (443 if address.scheme == "wss" else 80)
    try:
        socket.create_connection((address.hostname or "", port), timeout=JANUS_TIMEOUT).close()
    except OSError as error:
        report.fail("media server", f"Janus: {in_a_line(error)}", "MANA['JANUS_URL'], and whether Janus runs")
    else:
        report.ok("media server", "Janus listens")
