"""What a log record should say of where it comes from, for whoever formats logs."""

from __future__ import annotations

from contextvars import ContextVar

#: The socket whose frames the running task handles.
session_id: ContextVar[str] = ContextVar("mana_session_id", default="")
#: The HTTP request that is being answered.
request_id: ContextVar[str] = ContextVar("mana_request_id", default="")
