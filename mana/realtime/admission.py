"""Who may open one more socket at this node: so many handshakes and connections per address, so many per user."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from math import ceil

from mana.conf import settings
from mana.protocol import CloseCode, ErrorCode
from mana.realtime.addresses import client_address
from mana.realtime.identity import Handshake, Refused
from mana.realtime.limits import TokenBucket

logger = logging.getLogger("mana.admission")

#: Addresses that are remembered; of more, those that were not heard of for the longest are forgotten.
REMEMBERED = 50_000
#: Seconds after which somebody with too many connections may try again.
RETRY_AFTER = 10.0


class Admission:
    """Counts at one node. Addresses are those of ``addresses.client_address``."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._handshakes: dict[str, TokenBucket] = {}
        self._connections: Counter[str] = Counter()
        self._warned = False
        self.refused = 0

    def address_of(self, handshake: Handshake) -> str:
        """Where a handshake comes from."""
        forwarded = handshake.headers.get("x-forwarded-for", "")
        if forwarded and not settings.TRUSTED_PROXIES and not self._warned:
            self._warned = True
            logger.warning(
                "X-Forwarded-For is ignored, and all connections of a proxy count for one address, as long as "
                "MANA['TRUSTED_PROXIES'] does not name it."
            )
        return client_address(handshake.peer, forwarded, settings.TRUSTED_PROXIES)

    def enter(self, address: str) -> None:
        """Counts a connection. Raises ``Refused``, and then ``leave`` must not be called."""
        if not address:
            return
        wait = self._bucket(address).take(self._clock())
        if wait:
            self._refuse("Too many connections were opened from this address.", wait)
        if self._connections[address] >= settings.MAX_CONNECTIONS_PER_ADDRESS:
            self._refuse("Too many connections are open from this address.", RETRY_AFTER)
        self._connections[address] += 1

    def leave(self, address: str) -> None:
        """Forgets a connection that entered."""
        if address:
            self._connections[address] -= 1
            if self._connections[address] <= 0:
                del self._connections[address]

    def check_user(self, connections: int) -> None:
        """Raises ``Refused`` for a user who has so many connections already."""
        if connections >= settings.MAX_CONNECTIONS_PER_USER:
            self._refuse("This user has too many connections.", RETRY_AFTER)

    def _bucket(self, address: str) -> TokenBucket:
        bucket = self._handshakes.pop(address, None)
        if bucket is None:
            while len(self._handshakes) >= REMEMBERED:
                del self._handshakes[next(iter(self._handshakes))]
            bucket = TokenBucket(settings.HANDSHAKE_RATE, settings.HANDSHAKE_BURST, self._clock())
        self._handshakes[address] = bucket  # the last to be heard of
        return bucket

    def _refuse(self, detail: str, wait: float) -> None:
        self.refused += 1
        raise Refused(ErrorCode.RATE_LIMITED, detail, close_code=CloseCode.FLOOD, retry_after=ceil(wait * 1000) / 1000)
