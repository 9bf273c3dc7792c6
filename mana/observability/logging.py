"""Logs for machines: one JSON object per line, with the ids to find what belongs together, and no secrets.

In ``LOGGING``::

    "formatters": {"json": {"()": "mana.observability.logging.JSONFormatter"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "json"}},

A project that keeps its own formatter puts ``ScrubFilter`` on its handlers, and ``ContextFilter`` for the ids.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Any

import msgspec

from mana.observability.scrub import scrub
from mana.realtime.context import request_id, session_id

#: What every log record has; anything else came with ``extra``.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def context() -> dict[str, str]:
    """The ids of what is being done, where there are any: node, session, request, trace_id, span_id."""
    found = {}
    # Logging is configured before there are models, so that the hub's module can't be imported here; and where nobody
    # has imported it, there is no node.
    if hubs := sys.modules.get("mana.realtime.hub"):
        for hub in hubs.running()[:1]:
            found["node"] = hub.node_id
    if session := session_id.get():
        found["session"] = session
    if request := request_id.get():
        found["request"] = request
    if "opentelemetry.trace" in sys.modules:  # if nobody has imported it, nobody traces
        span = sys.modules["opentelemetry.trace"].get_current_span().get_span_context()
        if span.is_valid:
            found["trace_id"] = f"{span.trace_id:032x}"
            found["span_id"] = f"{span.span_id:016x}"
    return found


class JSONFormatter(logging.Formatter):
    """Time, level, logger, message, the ids of ``context()``, exception, and the plain values given as ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": scrub(record.getMessage()),
            **context(),
        }
        for name, value in vars(record).items():
            if name not in _STANDARD and isinstance(value, str | int | float | bool):
                entry.setdefault(name, scrub(value) if isinstance(value, str) else value)
        if record.exc_info and record.exc_info[0] is not None:
            entry["exception"] = scrub(self.formatException(record.exc_info))
        if record.stack_info:
            entry["stack"] = scrub(self.formatStack(record.stack_info))
        return msgspec.json.encode(entry, enc_hook=str).decode()


class ScrubbingFormatter(logging.Formatter):
    """A plain text formatter whose lines have no secrets, exceptions included."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return scrub(super().format(record))


class ScrubFilter(logging.Filter):
    """Takes secrets out of records, for handlers with a formatter of somebody else's."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always true."""
        record.msg, record.args = scrub(record.getMessage()), None
        if record.exc_info and record.exc_info[0] is not None and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = scrub(record.exc_text)  # formatters use it as it is
        return True


class ContextFilter(logging.Filter):
    """Gives records ``node``, ``session``, ``request``, ``trace_id`` and ``span_id``, empty where there are none."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always true."""
        for name in ("node", "session", "request", "trace_id", "span_id"):
            setattr(record, name, "")
        for name, value in context().items():
            setattr(record, name, value)
        return True
