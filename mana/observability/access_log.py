"""daphne's access log without secrets.

daphne writes it to a stream of its own, past ``logging``, with the query strings of HTTP requests. Here its lines are
scrubbed, and go to the logger ``daphne.access`` where the project has configured that one.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from mana.observability.scrub import scrub as scrubbed

logger = logging.getLogger("daphne.access")


def scrub() -> None:
    """Has daphne's access log scrubbed, if this process is daphne."""
    module = sys.modules.get("daphne.access")
    if module is None or getattr(module.AccessLogGenerator, "_mana_scrubs", False):
        return
    original = module.AccessLogGenerator.write_entry

    def write_entry(
        self: Any, host: Any, date: Any, request: str, status: Any = None, length: Any = None, **rest: Any
    ) -> None:
        request = scrubbed(request)
        if logger.handlers and logger.isEnabledFor(logging.INFO):
            logger.info(
                "%s %s",
                request,
                status or "-",
                extra={"client": str(host), "status": status or 0, "bytes": length or 0},
            )
        else:
            original(self, host, date, request, status, length, **rest)

    module.AccessLogGenerator.write_entry = write_entry
    module.AccessLogGenerator._mana_scrubs = True
