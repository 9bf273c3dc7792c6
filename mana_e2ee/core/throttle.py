"""Slows down an address whose messages fail again and again. Kept in memory, never written."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

from .errors import InvalidKey, InvalidMessage, InvalidSignature, Throttled, TooManySkipped
from .limits import MAX_FAILURES, THROTTLE_ADDRESSES, THROTTLE_CEILING
from .records import Address
from .stores.base import Store


class Throttle:
    """After 16 failures in a row the next try must wait 1, 2, 4 ... up to 3,600 seconds."""

    def __init__(self) -> None:
        self._failures: OrderedDict[Address, tuple[int, int]] = OrderedDict()

    def check(self, address: Address, now: int) -> None:
        """Raises Throttled when it is too early for another try."""
        count, last = self._failures.get(address, (0, 0))
        if count >= MAX_FAILURES:
            delay = min(2 ** min(count - MAX_FAILURES, 16), THROTTLE_CEILING)
            if last <= now < last + delay:  # a clock that was set back does not lengthen the wait
                raise Throttled(last + delay - now)

    def failed(self, address: Address, now: int) -> None:
        count, _ = self._failures.pop(address, (0, 0))
        self._failures[address] = (count + 1, now)
        if len(self._failures) > THROTTLE_ADDRESSES:
            self._failures.popitem(last=False)

    def succeeded(self, address: Address) -> None:
        self._failures.pop(address, None)


_throttles: WeakKeyDictionary[Store, Throttle] = WeakKeyDictionary()


def throttle_of(store: Store) -> Throttle:
    """The one throttle of a store object."""
    return _throttles.setdefault(store, Throttle())


@contextmanager
def guarded(store: Store, address: Address, now: int) -> Iterator[None]:
    """Around one try to decrypt: raises Throttled before it, counts the failures that cost cryptography."""
    throttle = throttle_of(store)
    throttle.check(address, now)
    try:
        yield
    except (InvalidMessage, InvalidSignature, InvalidKey, TooManySkipped):
        throttle.failed(address, now)
        raise
    throttle.succeeded(address)
