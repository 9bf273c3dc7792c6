"""ICE-lite (RFC 8445 section 2.5) without I/O, and a little more: a new address of a connected peer is believed only
after it answered a check of ours, so that nobody can have media sent to somebody else's address, and consent to send is
asked for again and again (RFC 7675).

A peer moves by itself: a check with its credentials from a new address makes that address known, USE-CANDIDATE makes it
the one that is sent to. A restart gives new credentials to the same transport; the old ones hold until the new are
used.
"""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass
from typing import Protocol

from mana_rtc.transport import stun

#: Addresses of one peer that are known at a time.
MAX_PATHS = 8
#: Checks of ours that wait for their answer, and for how many seconds they may.
MAX_CHECKS = 16
CHECK_TIMEOUT = 5.0
#: Seconds between checks of consent (RFC 7675 section 5.1), and without an answer until nothing more is sent.
CONSENT_INTERVAL = 4.0
CONSENT_TIMEOUT = 30.0
#: Seconds between two tries to validate a new address.
VALIDATION_INTERVAL = 0.05
_ICE_CHARS = string.ascii_letters + string.digits


class Path(Protocol):
    """A way to a peer: a remote address at one of our sockets, or a TCP connection."""

    address: tuple[str, int]
    #: When something authentic came this way.
    last_seen: float

    def send(self, data: bytes) -> None:
        """Sends a datagram; may lose it."""

    def close(self) -> None:
        """Forgets the way."""


@dataclass
class Generation:
    """The credentials of one ICE session. The remote ones are empty until the peer's description is known."""

    ufrag: str
    pwd: str
    remote_ufrag: str = ""
    remote_pwd: str = ""


@dataclass
class _Check:
    path: Path
    generation: Generation
    at: float


def new_generation() -> Generation:
    """Fresh credentials, of 48 and 144 bits (RFC 8445 section 5.3 wants 24 and 128)."""
    return Generation(
        "".join(secrets.choice(_ICE_CHARS) for _ in range(8)), "".join(secrets.choice(_ICE_CHARS) for _ in range(24))
    )


class IceLite:
    """One transport's ICE. ``established`` is set once DTLS has proved the first address."""

    def __init__(self, now: float) -> None:
        self.current = new_generation()
        self.previous: Generation | None = None
        self.selected: Path | None = None
        self.paths: list[Path] = []
        self.established = False
        #: When an authentic check or answer came last, and an answer to a check of ours.
        self.last_heard = now
        self.last_consent = now
        #: Seconds of a round trip, 0 until one was measured.
        self.round_trip = 0.0
        self._nominated: Path | None = None
        self._nominated_by: Generation | None = None
        self._checks: dict[bytes, _Check] = {}
        self._next_consent = now + CONSENT_INTERVAL
        self._last_validation = float("-inf")

    def restart(self) -> Generation:
        """New credentials. Those of before hold until the peer uses the new ones."""
        if self.previous is None:
            self.previous = self.current  # of two restarts in a row the first was never used
        self.current = new_generation()
        return self.current

    def generation(self, ufrag: str) -> Generation | None:
        """The credentials with this user name fragment of ours."""
        for one in (self.current, self.previous):
            if one is not None and one.ufrag == ufrag:
                return one
        return None

    # -- What comes --------------------------------------------------------------------------------------------------

    def request(self, message: stun.Message, path: Path, now: float) -> bool:
        """A check came. Answers it and returns True if it is authentic; says nothing otherwise."""
        ours, _, theirs = message.username.partition(":")
        generation = self.generation(ours)
        if generation is None or not message.verify(generation.pwd):
            return False
        if generation.remote_ufrag and theirs != generation.remote_ufrag:
            return False
        self.last_heard = path.last_seen = now
        self._learn(path)  # whatever the answer: they are bounded, and closed with the peer
        if stun.ICE_CONTROLLED in message.attributes:
            path.send(stun.role_conflict(message.transaction, generation.pwd))
            return True
        path.send(stun.binding_response(message.transaction, path.address, generation.pwd))
        if stun.USE_CANDIDATE in message.attributes:
            self._nominate(path, generation, now)
        return True

    def _learn(self, path: Path) -> None:
        if path in self.paths:
            return
        self.paths.append(path)
        if len(self.paths) > MAX_PATHS:
            others = [one for one in self.paths if one is not self.selected and one is not path]
            oldest = min(others, key=lambda one: one.last_seen)
            self.paths.remove(oldest)
            oldest.close()

    def _nominate(self, path: Path, generation: Generation, now: float) -> None:
        if path is self.selected:
            self._nominated = None
            self._used(generation)
        elif self.selected is None or not self.established:
            self._select(path, generation, now)
        else:
            self._nominated, self._nominated_by = path, generation
            if now - self._last_validation >= VALIDATION_INTERVAL:
                self._last_validation = now
                self._check(path, generation, now)

    def _select(self, path: Path, generation: Generation, now: float) -> None:
        self.selected = path
        self._nominated = None
        self.last_consent = now
        self._next_consent = now + CONSENT_INTERVAL
        self._used(generation)

    def _used(self, generation: Generation) -> None:
        if generation is self.current:
            self.previous = None

    def response(self, message: stun.Message, path: Path, now: float) -> bool:
        """An answer came. Whether it is to a check of ours, from where that was sent, and authentic."""
        check = self._checks.get(message.transaction)
        if check is None or check.path is not path or not message.verify(check.generation.remote_pwd):
            return False
        del self._checks[message.transaction]
        if message.kind != stun.BINDING_RESPONSE:
            return False
        measured = now - check.at
        self.round_trip += (measured - self.round_trip) * (0.25 if self.round_trip else 1)
        self.last_heard = path.last_seen = now
        if path is self._nominated and self._nominated_by is not None:
            self._select(path, self._nominated_by, now)
        elif path is self.selected:
            self.last_consent = now
        return True

    # -- What goes ---------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Asks for consent when it is time to."""
        for transaction, check in list(self._checks.items()):
            if now - check.at > CHECK_TIMEOUT:
                del self._checks[transaction]
        waited = now - self._last_validation >= 2 * VALIDATION_INTERVAL
        if self._nominated is not None and self._nominated_by is not None and waited:
            self._last_validation = now
            self._check(self._nominated, self._nominated_by, now)
        if self.selected is not None and now >= self._next_consent:
            self._next_consent = now + CONSENT_INTERVAL * (0.8 + 0.4 * secrets.randbelow(1000) / 1000)
            self._check(self.selected, self.previous or self.current, now)

    def _check(self, path: Path, generation: Generation, now: float) -> None:
        if not generation.remote_pwd or len(self._checks) >= MAX_CHECKS:
            return
        data, transaction = stun.binding_request(f"{generation.remote_ufrag}:{generation.ufrag}", generation.remote_pwd)
        self._checks[transaction] = _Check(path, generation, now)
        path.send(data)

    def may_send(self, now: float) -> bool:
        """Whether the peer's consent is fresh enough."""
        return now - self.last_consent < CONSENT_TIMEOUT

    def close(self) -> None:
        """Forgets all addresses."""
        for path in self.paths:
            path.close()
        self.paths.clear()
        self.selected = self._nominated = None
        self._checks.clear()
