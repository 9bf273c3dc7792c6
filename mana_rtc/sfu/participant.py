"""Somebody in a room: what they publish, what they receive, what they wish."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mana_rtc.sfu.backend import ParticipantInfo, Source, TransportLost, Wish
from mana_rtc.sfu.publisher import Publisher
from mana_rtc.sfu.subscriber import Subscriber

if TYPE_CHECKING:
    from mana_rtc.sfu.room import Room


class Participant:
    """One participant."""

    def __init__(self, room: Room, info: ParticipantInfo) -> None:
        self.room = room
        self.info = info
        self.id = info.id
        self.publisher: Publisher | None = None
        self.subscriber: Subscriber | None = None
        self.wishes: dict[str, Wish] = {}
        self.allowance = room.config.data_rate
        self.allowance_at = room.clock()

    def publish(self, text: str, sources: dict[str, Source]) -> str:
        """Answers an offer. One from another peer connection than before, told by its fingerprint, begins anew."""
        publisher = self.publisher
        if publisher is not None and publisher.fingerprints:
            from mana_rtc.media import sdp

            if sdp.parse(text).transport.fingerprints != publisher.fingerprints:
                publisher.close("replaced")
                publisher = None
        if publisher is None or publisher.transport.is_closed:
            publisher = Publisher(self)
            try:
                answer = publisher.negotiate(text, sources)
            except BaseException:
                publisher.close("refused")
                raise
            self.publisher = publisher
            return answer
        return publisher.negotiate(text, sources)

    def ready(self) -> None:
        """There is a new peer connection to be offered everything."""
        if self.subscriber is not None:
            self.subscriber.close("replaced")
        self.subscriber = Subscriber(self)
        for track in self.room.tracks():
            if track.info.participant != self.id:
                self.subscriber.add(track)

    def wish(self, wishes: dict[str, Wish]) -> None:
        """Takes wishes about tracks."""
        known = {track.info.id for track in self.room.tracks()}
        self.wishes = {track: wish for track, wish in self.wishes.items() if track in known}
        self.wishes.update({track: wish for track, wish in wishes.items() if track in known})
        if self.subscriber is not None and self.subscriber.transport.is_connected:
            self.subscriber.allocate(self.room.clock())

    def take_allowance(self, size: int) -> bool:
        """Whether so many more bytes may be sent in data channels now."""
        now = self.room.clock()
        rate = self.room.config.data_rate
        burst = max(rate * 2, self.room.config.max_message_size)
        self.allowance = min(burst, self.allowance + (now - self.allowance_at) * rate)
        self.allowance_at = now
        if size > self.allowance:
            return False
        self.allowance -= size
        return True

    def publisher_closed(self, publisher: Publisher, reason: str) -> None:
        """The publishing transport is over."""
        self.room.mux.forget(publisher.transport)
        if self.publisher is publisher:
            self.publisher = None
            self._lost("publish", reason)

    def subscriber_closed(self, subscriber: Subscriber, reason: str) -> None:
        """The receiving transport is over."""
        self.room.mux.forget(subscriber.transport)
        if self.subscriber is subscriber:
            self.subscriber = None
            self._lost("subscribe", reason)

    def _lost(self, peer: Any, reason: str) -> None:
        if reason not in ("left", "replaced", "refused"):
            self.room.emit(TransportLost(room=self.room.id, to=[self.id], peer=peer, reason=reason))

    def tick(self, now: float) -> None:
        """What time brings."""
        timeout = self.room.config.peer_timeout
        for half in (self.publisher, self.subscriber):
            if half is not None:
                half.transport.tick(now, timeout)
                half.tick(now)

    def close(self) -> None:
        """Ends both halves."""
        if self.publisher is not None:
            self.publisher.close("left")
        if self.subscriber is not None:
            self.subscriber.close("left")

    def statistics(self, now: float) -> dict[str, Any]:
        """Numbers of both halves."""
        made: dict[str, Any] = {"user_id": self.info.user_id}
        if self.publisher is not None:
            made["publish"] = {**_transport(self.publisher), "tracks": self.publisher.statistics(now)}
        if self.subscriber is not None:
            made["subscribe"] = {**_transport(self.subscriber), **self.subscriber.statistics()}
        return made


def _transport(half: Publisher | Subscriber) -> dict[str, Any]:
    transport = half.transport
    counters = transport.counters
    selected = transport.ice.selected
    return {
        "connected": transport.is_connected,
        "handshakes": transport.handshakes,
        "srtp": transport.srtp_profile,
        "round_trip": transport.round_trip,
        "address": f"{selected.address[0]}:{selected.address[1]}" if selected is not None else None,
        "packets_in": counters.packets_in,
        "bytes_in": counters.bytes_in,
        "packets_out": counters.packets_out,
        "bytes_out": counters.bytes_out,
        "refused": counters.refused,
    }
