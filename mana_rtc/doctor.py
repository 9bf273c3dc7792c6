"""What ``manage.py mana_doctor`` says of calls."""

from __future__ import annotations

from importlib.util import find_spec

from mana.conf import settings
from mana.observability.doctor.report import Report
from mana.observability.doctor.report import reason as in_a_line
from mana_rtc import stores
from mana_rtc.models import Call


def examine_calls(report: Report) -> None:
    """The servers that clients are told, the media server, and calls that nobody looks after."""
    _servers(report)
    if find_spec("aiortc") is None:
        report.note("media server", "none: calls go from peer to peer", 'pip install "django-mana[rtc]"')
    else:
        report.ok("media server", settings.RTC_BACKEND)
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
