"""A room: everybody's tracks to everybody else, who speaks, which layers are watched, and messages in data channels."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from mana_rtc.media.speaker import SpeakerDetector
from mana_rtc.media.uptrack import UpTrack
from mana_rtc.sfu.backend import (
    Event,
    Joined,
    LayersWanted,
    Listener,
    ParticipantInfo,
    ParticipantLeft,
    SpeakersChanged,
    TrackAdded,
    TrackRemoved,
)
from mana_rtc.sfu.config import SfuConfig
from mana_rtc.sfu.participant import Participant
from mana_rtc.sfu.publisher import PublishedTrack

if TYPE_CHECKING:
    from mana_rtc.sfu.subscriber import Subscriber
    from mana_rtc.transport.mux import Mux

logger = logging.getLogger("mana.rtc")

#: Seconds between looks at who speaks, and at layers that nobody watches.
SPEAKER_INTERVAL = 0.1
DYNACAST_INTERVAL = 0.5
#: Seconds between two lines of numbers in the log, with the level DEBUG.
LOG_INTERVAL = 1.0
#: Bytes of messages that may wait for somebody who takes them too slowly; what comes beyond is not sent to them.
MAX_BUFFERED = 1024 * 1024


class Room:
    """The participants of one room. ``interval`` is the time between ticks."""

    def __init__(
        self,
        room_id: str,
        mux: Mux,
        config: SfuConfig,
        *,
        listener: Listener,
        clock: Callable[[], float],
        call_soon: Callable[[Callable[[], None]], object],
        interval: float,
    ) -> None:
        self.id = room_id
        self.mux = mux
        self.config = config
        self.clock = clock
        self.interval = interval
        self.participants: dict[str, Participant] = {}
        self.speaker = SpeakerDetector()
        self.messages_dropped = 0
        self._listener = listener
        self._call_soon = call_soon
        self._unsettled: list[Subscriber] = []
        self._spoke: dict[str, float] = {}
        self._speaking: list[str] = []
        self._unwatched: dict[tuple[str, str], float] = {}
        self._next_speaker = 0.0
        self._next_dynacast = 0.0
        self._next_log = 0.0

    def emit(self, event: Event) -> None:
        """Tells of something."""
        if event.to:
            self._listener(event)

    def others(self, participant: Participant) -> list[str]:
        """Everybody else."""
        return [one for one in self.participants if one != participant.id]

    # -- Participants ------------------------------------------------------------------------------------------------

    def join(self, info: ParticipantInfo) -> Participant:
        """Lets somebody in, in place of an earlier participant of the same id."""
        if info.id in self.participants:
            self.leave(info.id, "replaced")
        participant = self.participants[info.id] = Participant(self, info)
        return participant

    def seen_by(self, participant_id: str) -> Joined:
        """Everybody else and what they publish."""
        return Joined(
            participants=[one.info for one in self.participants.values() if one.id != participant_id],
            tracks=[track.info for track in self.tracks() if track.info.participant != participant_id],
        )

    def leave(self, participant_id: str, reason: str) -> None:
        """Lets somebody out."""
        participant = self.participants.get(participant_id)
        if participant is None:
            return
        told = self.others(participant) if reason in ("left", "replaced") else list(self.participants)
        participant.close()
        del self.participants[participant_id]
        self.speaker.remove(participant_id)
        self._spoke.pop(participant_id, None)
        self.emit(ParticipantLeft(room=self.id, to=told, participant=participant.info, reason=reason))

    def close(self) -> None:
        """Lets everybody out."""
        for one in list(self.participants):
            self.leave(one, "closed")

    # -- Tracks ------------------------------------------------------------------------------------------------------

    def tracks(self) -> Iterator[PublishedTrack]:
        """All tracks of all participants."""
        for participant in self.participants.values():
            if participant.publisher is not None:
                yield from participant.publisher.tracks.values()

    def track_added(self, owner: Participant, track: PublishedTrack) -> None:
        """Somebody publishes one more."""
        now = self.clock()
        for layer in track.up.layers:
            layer.asked_at = now
        for participant in self.participants.values():
            if participant is not owner and participant.subscriber is not None:
                participant.subscriber.add(track)
        self.emit(TrackAdded(room=self.id, to=self.others(owner), track=track.info))

    def track_removed(self, owner: Participant, track: PublishedTrack) -> None:
        """Somebody publishes one less."""
        for participant in self.participants.values():
            if participant.subscriber is not None:
                participant.subscriber.remove(track)
        for layer in track.up.layers:
            self._unwatched.pop((track.up.id, layer.rid), None)
        self.emit(TrackRemoved(room=self.id, to=self.others(owner), track=track.info))

    def settle(self, subscriber: Subscriber) -> None:
        """Has a subscriber make its offer when the current change is done."""
        if not self._unsettled:
            self._call_soon(self._make_offers)
        if subscriber not in self._unsettled:
            self._unsettled.append(subscriber)

    def _make_offers(self) -> None:
        unsettled, self._unsettled = self._unsettled, []
        for subscriber in unsettled:
            subscriber.offer()

    # -- Who speaks --------------------------------------------------------------------------------------------------

    def speaking_order(self) -> dict[str, int]:
        """Participants by when they last had the floor, the last one first; those who never did are not in it."""
        return {one: place for place, one in enumerate(sorted(self._spoke, key=lambda one: -self._spoke[one]))}

    def _update_speakers(self, now: float) -> None:
        changed = self.speaker.update(now)
        voices = self.speaker.speaking(now)
        dominant = self.speaker.dominant
        if dominant is not None and any(voice.name == dominant for voice in voices):
            self._spoke[dominant] = now
        names = [voice.name for voice in voices]
        if changed or set(names) != set(self._speaking):
            self._speaking = names
            self.emit(
                SpeakersChanged(
                    room=self.id,
                    to=list(self.participants),
                    dominant=dominant,
                    speakers=[(voice.name, round(voice.loudness)) for voice in voices],
                )
            )

    # -- Layers that nobody watches ----------------------------------------------------------------------------------

    def watched_changed(self, track: UpTrack) -> None:
        """Somebody began or ceased to watch a layer: one that was paused is needed at once."""
        now = self.clock()
        changed = False
        for layer in track.layers:
            if layer.watchers:
                self._unwatched.pop((track.id, layer.rid), None)
                if layer.paused:
                    layer.paused = False
                    layer.asked_at = now
                    changed = True
        if changed:
            self._tell_layers(track)

    def _pause_unwatched(self, now: float) -> None:
        for published in self.tracks():
            track = published.up
            if track.kind != "video" or len(track.layers) < 2:
                continue
            changed = False
            for layer in track.layers:
                if layer.watchers or layer.paused:
                    continue
                since = self._unwatched.setdefault((track.id, layer.rid), now)
                if now - since >= self.config.dynacast_delay:
                    layer.paused = changed = True
            if changed:
                self._tell_layers(track)

    def _tell_layers(self, track: UpTrack) -> None:
        for participant in self.participants.values():
            publisher = participant.publisher
            if publisher is not None and any(one.up is track for one in publisher.tracks.values()):
                self.emit(
                    LayersWanted(
                        room=self.id,
                        to=[participant.id],
                        track=track.id,
                        layers={layer.rid: not layer.paused for layer in track.layers},
                    )
                )

    # -- Data channels -----------------------------------------------------------------------------------------------

    def relay(self, sender: Participant, label: str, message: bytes | str) -> None:
        """Hands a message to everybody else who has a channel of the same label.

        What is delivered is binary: two bytes with the length of a header, the header (JSON: ``from``, ``participant``,
        ``text``), the message. The server says who it is from.
        """
        body = message.encode() if isinstance(message, str) else message
        if len(body) > self.config.max_message_size or not sender.take_allowance(len(body)):
            self.messages_dropped += 1
            return
        header = json.dumps(
            {"from": sender.info.user_id, "participant": sender.id, "text": isinstance(message, str)}
        ).encode()
        packed = len(header).to_bytes(2) + header + body
        for participant in self.participants.values():
            if participant is sender or participant.publisher is None:
                continue
            for channel in participant.publisher.channels:
                if channel.label != label or channel.readyState != "open":
                    continue
                if channel.bufferedAmount > MAX_BUFFERED:
                    self.messages_dropped += 1
                else:
                    channel.send(packed)

    # -- Time --------------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """What time brings."""
        for participant in list(self.participants.values()):
            participant.tick(now)
        if now >= self._next_speaker:
            self._next_speaker = now + SPEAKER_INTERVAL
            self._update_speakers(now)
        if now >= self._next_log:
            self._next_log = now + LOG_INTERVAL
            if logger.isEnabledFor(logging.DEBUG):
                logger.debug("Room %s: %s", self.id, json.dumps(self.statistics()))
        if self.config.dynacast_delay and now >= self._next_dynacast:
            self._next_dynacast = now + DYNACAST_INTERVAL
            self._pause_unwatched(now)

    def statistics(self) -> dict[str, Any]:
        """Numbers of everybody in the room."""
        now = self.clock()
        return {
            "participants": {one.id: one.statistics(now) for one in self.participants.values()},
            "dominant": self.speaker.dominant,
            "messages_dropped": self.messages_dropped,
        }
