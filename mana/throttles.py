"""How often something may be tried. The counts live in Django's default cache, shared where that is."""

from __future__ import annotations

import hashlib
import logging
import time
from typing import Any

from django.core.cache import cache
from django.core.cache.backends.locmem import LocMemCache

from mana.conf import settings
from mana.protocol import ErrorCode, ManaError
from mana.realtime.addresses import client_address

logger = logging.getLogger("mana.throttles")

#: Seconds for which a cache that failed is not asked again: one that hangs would hold up each attempt.
ASK_AGAIN_AFTER = 5.0


class Counts:
    """Django's default cache; while it is away, this process counts for itself: limits stay, and nobody is locked out.

    Has what REST framework's throttles ask of a cache as well.
    """

    #: Seconds.
    timer = staticmethod(time.monotonic)

    def __init__(self) -> None:
        self._own = LocMemCache("mana-throttles", {"OPTIONS": {"MAX_ENTRIES": 50_000}})
        self._away_until = 0.0

    def get(self, key: str, default: Any = None) -> Any:
        """What is kept."""
        return self._ask("get", key, default)

    def set(self, key: str, value: Any, timeout: float | None = None) -> None:
        """Keeps something for so many seconds."""
        self._ask("set", key, value, timeout)

    def delete(self, key: str) -> None:
        """Keeps it no longer."""
        self._ask("delete", key)

    def _ask(self, method: str, *arguments: Any) -> Any:
        if self.timer() >= self._away_until:
            try:
                return getattr(cache, method)(*arguments)
            except Exception as error:  # of whatever library
                self._away_until = self.timer() + ASK_AGAIN_AFTER
                logger.warning("The cache is away, this process counts attempts for itself: %s", error)
        return getattr(self._own, method)(*arguments)


counts = Counts()


class Throttle:
    """At most so many attempts per key in a sliding window; the rate is the setting ``MANA[setting]``."""

    #: Seconds since the epoch.
    timer = staticmethod(time.time)

    def __init__(self, setting: str) -> None:
        self._setting = setting

    def check(self, key: str) -> None:
        """Raises ``ManaError`` with ``rate_limited`` if the attempts are used up."""
        rate = getattr(settings, self._setting)
        if rate is None:
            return
        count, seconds = rate
        attempts = self._attempts(key, seconds)
        if len(attempts) >= count:
            raise ManaError(ErrorCode.RATE_LIMITED, retry_after=max(1.0, round(attempts[0] + seconds - self.timer())))

    def count(self, key: str) -> None:
        """Counts an attempt."""
        rate = getattr(settings, self._setting)
        if rate is None:
            return
        count, seconds = rate
        counts.set(self._cache_key(key), [*self._attempts(key, seconds), self.timer()][-count:], seconds)

    def take(self, key: str) -> None:
        """Checks and counts."""
        self.check(key)
        self.count(key)

    def forget(self, key: str) -> None:
        """Gives all attempts back."""
        counts.delete(self._cache_key(key))

    def _attempts(self, key: str, seconds: int) -> list[float]:
        since = self.timer() - seconds
        return [moment for moment in counts.get(self._cache_key(key), []) if moment > since]

    def _cache_key(self, key: str) -> str:
        # Keys come from outside: any length, any characters.
        return f"mana-throttle-{self._setting}-{hashlib.sha256(key.encode()).hexdigest()}"


def address_of(request: Any) -> str:
    """The network address that a request counts for; of IPv6 the network of 64 bits, which one household has."""
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
    return client_address(request.META.get("REMOTE_ADDR"), forwarded, settings.TRUSTED_PROXIES)
