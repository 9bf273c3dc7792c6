"""What one participant sends: the transport it comes by, its tracks and layers, and the feedback it gets."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mana_rtc.media import negotiation, rtcp, rtp, sdp
from mana_rtc.media.negotiation import Accepted, TransportParameters
from mana_rtc.media.remote import RemoteEstimator
from mana_rtc.media.rtp import RtpPacket
from mana_rtc.media.twcc import FeedbackRecorder
from mana_rtc.media.uptrack import Layer, UpTrack
from mana_rtc.sfu.backend import SfuError, Source, TrackInfo
from mana_rtc.transport.aiortc_parts import DataChannel

if TYPE_CHECKING:
    from mana_rtc.sfu.participant import Participant
    from mana_rtc.transport.peer import PeerTransport

logger = logging.getLogger("mana.rtc")

#: Seconds between feedback of each kind.
TRANSPORT_CC_INTERVAL = 0.06
REPORT_INTERVAL = 1.0
#: Streams that one publisher may send, retransmissions included; and packets of unknown ones before it is cut off.
MAX_STREAMS = 64
MAX_STRAYS = 2000
#: Seconds of a round trip until it was measured.
DEFAULT_ROUND_TRIP = 0.1

Receiver = Callable[[RtpPacket, float], object]


class PublishedTrack:
    """A track with its section in the negotiation."""

    def __init__(self, up: UpTrack, accepted: Accepted, info: TrackInfo) -> None:
        self.up = up
        self.accepted = accepted
        self.info = info
        self.level_id = accepted.extensions.get(sdp.AUDIO_LEVEL_URI, -1) if up.kind == "audio" else -1

    def matches(self, accepted: Accepted) -> bool:
        """Whether a section still is this track."""
        return (
            self.accepted.codec.payload_type == accepted.codec.payload_type
            and self.up.codec == codec_name(accepted)
            and self.accepted.rids == accepted.rids
            and self.accepted.section.stream == accepted.section.stream
        )


class Publisher:
    """One participant's publishing peer connection (see ``mana_rtc.transport.peer.PeerHandler``)."""

    def __init__(self, participant: Participant) -> None:
        self.participant = participant
        config = participant.room.config
        self.transport: PeerTransport = participant.room.mux.new_peer(self, max_channels=config.max_channels)
        self.tracks: dict[str, PublishedTrack] = {}
        self.channels: list[DataChannel] = []
        self.fingerprints: list[tuple[str, str]] = []
        self._ssrc = secrets.randbits(32)
        self._receivers: dict[int, Receiver] = {}
        self._layers: dict[int, Layer] = {}
        self._declared: dict[int, tuple[PublishedTrack, bool]] = {}
        self._extensions: dict[str, int] = {}
        self._mid_id = self._rid_id = self._repaired_id = self._transport_cc_id = -1
        self._send_time_id = -1
        self._recorder = FeedbackRecorder()
        self._remote = RemoteEstimator(
            start=config.start_bitrate, minimum=config.min_bitrate, maximum=config.max_bitrate
        )
        self._version = 0
        self._strays = 0
        self._next_transport_cc = 0.0
        self._next_report = 0.0

    # -- Negotiation -------------------------------------------------------------------------------------------------

    def negotiate(self, text: str, sources: dict[str, Source]) -> str:
        """Answers an offer. Raises ``SdpError`` or ``SfuError``; nothing has changed then."""
        room = self.participant.room
        offer = sdp.parse(text)
        section = negotiation.check_transport(offer, offer=True)
        made = self._answer(offer, sources, dry=True)
        if len(made.accepted) > room.config.max_tracks:
            raise SfuError("Too many tracks.", full=True)
        if self.transport.is_restart(section):
            self.transport.restart()
        self.fingerprints = section.fingerprints
        self.transport.set_remote(section, made.data)
        self._version += 1
        self._strays = 0  # what comes late of a track that is gone is no offence
        answer = self._answer(offer, sources, dry=False)
        self._apply(answer, sources)
        return answer.text

    def _answer(self, offer: sdp.Description, sources: dict[str, Source], *, dry: bool) -> negotiation.Answer:
        room = self.participant.room
        generation = self.transport.ice.current
        return negotiation.answer(
            offer,
            TransportParameters(
                generation.ufrag,
                generation.pwd,
                room.mux.identity.fingerprint,
                () if dry else room.mux.candidates(),
            ),
            video_codecs=room.config.video_codecs,
            max_message_size=room.config.max_message_size,
            version=self._version,
        )

    def _apply(self, answer: negotiation.Answer, sources: dict[str, Source]) -> None:
        kept = {one.section.mid: one for one in answer.accepted}
        for mid, track in list(self.tracks.items()):
            if mid not in kept or not track.matches(kept[mid]):
                self._remove(mid)
        for accepted in answer.accepted:
            self._extensions.update(accepted.extensions)
        known = self._extensions
        self._mid_id = known.get(sdp.MID_URI, -1)
        self._rid_id = known.get(sdp.RID_URI, -1)
        self._repaired_id = known.get(sdp.REPAIRED_RID_URI, -1)
        self._transport_cc_id = known.get(sdp.TRANSPORT_CC_URI, -1)
        self._send_time_id = known.get(sdp.ABS_SEND_TIME_URI, -1) if self._transport_cc_id < 0 else -1
        for mid, accepted in kept.items():
            if mid not in self.tracks:
                self._add(mid, accepted, sources.get(mid))
            self._declare(self.tracks[mid], accepted)

    def _add(self, mid: str, accepted: Accepted, source: Source | None) -> None:
        participant = self.participant
        kind = accepted.section.kind
        codec = accepted.codec
        up = UpTrack(
            f"{participant.id}-{mid}-{secrets.token_hex(3)}",
            kind,
            codec_name(accepted),
            payload_type=codec.payload_type,
            clock_rate=codec.clock_rate,
            rids=accepted.rids or ("",),
            on_watched=participant.room.watched_changed,
        )
        info = TrackInfo(
            id=up.id,
            kind="audio" if kind == "audio" else "video",
            source=source or ("microphone" if kind == "audio" else "camera"),
            participant=participant.id,
            user_id=participant.info.user_id,
            layers=list(accepted.rids),
        )
        self.tracks[mid] = PublishedTrack(up, accepted, info)
        participant.room.track_added(participant, self.tracks[mid])

    def _declare(self, track: PublishedTrack, accepted: Accepted) -> None:
        """SSRCs that the offer names need no header extension to be known."""
        self._declared = {ssrc: one for ssrc, one in self._declared.items() if one[0] is not track}
        if accepted.rids:
            return
        for ssrc in accepted.section.ssrcs:
            self._declared[ssrc] = (track, ssrc in accepted.section.rtx_of)

    def _remove(self, mid: str) -> None:
        track = self.tracks.pop(mid)
        for ssrc, layer in list(self._layers.items()):
            if layer.track is track.up:
                del self._layers[ssrc]
                self._receivers.pop(ssrc, None)
                self._receivers.pop(layer.rtx_ssrc, None)
        self._declared = {ssrc: one for ssrc, one in self._declared.items() if one[0] is not track}
        self.participant.room.track_removed(self.participant, track)

    # -- Packets -----------------------------------------------------------------------------------------------------

    def rtp_received(self, data: bytes, now: float) -> None:
        """Hands a packet to its layer. Raises ``ValueError`` for a malformed one."""
        packet = rtp.parse(data)
        if self._transport_cc_id >= 0:
            number = packet.extensions.get(self._transport_cc_id)
            if number is not None and len(number) == 2:
                self._recorder.received(number[0] << 8 | number[1], now)
        elif self._send_time_id >= 0:
            self._remote.received(packet.extensions.get(self._send_time_id, b""), len(data), now)
        receiver = self._receivers.get(packet.ssrc) or self._bind(packet)
        if receiver is not None:
            receiver(packet, now)

    def _bind(self, packet: RtpPacket) -> Receiver | None:
        """Finds out what a new SSRC is: by the offer, else by mid and rid in its header (RFC 8843, RFC 8852)."""
        found = self._identify(packet)
        if found is None or len(self._receivers) >= MAX_STREAMS:
            self._strays += 1
            if self._strays > MAX_STRAYS:
                self.transport.close("stray_packets")
            return None
        track, layer, is_rtx = found
        receiver: Receiver
        if is_rtx:
            self._receivers.pop(layer.rtx_ssrc, None)
            layer.rtx_ssrc = packet.ssrc
            receiver = layer.receive_rtx
        else:
            self._receivers.pop(layer.ssrc, None)
            self._layers.pop(layer.ssrc, None)
            layer.ssrc = packet.ssrc
            self._layers[packet.ssrc] = layer
            receiver = layer.receive if track.level_id < 0 else self._audio_receiver(layer, track.level_id)
        self._receivers[packet.ssrc] = receiver
        return receiver

    def _identify(self, packet: RtpPacket) -> tuple[PublishedTrack, Layer, bool] | None:
        declared = self._declared.get(packet.ssrc)
        if declared is not None:
            track, is_rtx = declared
            return track, track.up.layers[0], is_rtx
        mid = packet.extensions.get(self._mid_id)
        named = self.tracks.get(mid.decode("ascii", "replace")) if mid else None
        if named is None:
            return None
        is_rtx = packet.payload_type == named.accepted.rtx_payload_type
        if not is_rtx and packet.payload_type != named.up.payload_type:
            return None
        rid = packet.extensions.get(self._repaired_id if is_rtx else self._rid_id, b"").decode("ascii", "replace")
        layer = named.up.layer_of(rid)
        return (named, layer, is_rtx) if layer is not None else None

    def _audio_receiver(self, layer: Layer, level_id: int) -> Receiver:
        speaker, name = self.participant.room.speaker, self.participant.id

        def receive(packet: RtpPacket, now: float) -> None:
            level = rtp.audio_level(packet.extensions.get(level_id, b""))
            if level is not None:
                speaker.level(name, level, now)
            layer.receive(packet, now)

        return receive

    def rtcp_received(self, data: bytes, now: float) -> None:
        """Takes sender reports; the rest is of no use here. Raises ``ValueError`` for malformed packets."""
        for packet in rtcp.parse(data):
            if isinstance(packet, rtcp.SenderReport):
                layer = self._layers.get(packet.ssrc)
                if layer is not None:
                    layer.sender_report(packet, now)

    # -- Feedback ----------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Sends the feedback that is due."""
        transport = self.transport
        if not transport.is_connected or transport.is_closed:
            return
        round_trip = transport.round_trip or DEFAULT_ROUND_TRIP
        for layer in self._layers.values():
            if len(layer.missing) or layer.keyframe_wanted or layer.missing.overflowed:
                transport.send_rtcp(layer.feedback(now, round_trip, self._ssrc))
        if now >= self._next_transport_cc:
            self._next_transport_cc = now + TRANSPORT_CC_INTERVAL
            # libwebrtc takes feedback only if it names one of its streams, though it is about all of them.
            media = next(iter(self._layers), 0)
            for body in self._recorder.feedback() if media else ():
                transport.send_rtcp(rtcp.transport_feedback(self._ssrc, media, body))
        if bitrate := self._remote.due(now):
            # A compound packet begins with a report (RFC 3550 section 6.1); empty, as the reports have their own time.
            transport.send_rtcp(rtcp.receiver_report(self._ssrc, ()) + rtcp.remb(self._ssrc, bitrate, [*self._layers]))
        if now >= self._next_report:
            self._next_report = now + REPORT_INTERVAL
            self._report(now)

    def _report(self, now: float) -> None:
        blocks = [
            layer.statistics.block(ssrc, layer.window.highest, now)
            for ssrc, layer in self._layers.items()
            if layer.is_live(now)
        ]
        if blocks:
            self.transport.send_rtcp(
                rtcp.receiver_report(self._ssrc, blocks) + rtcp.source_description(self._ssrc, "mana")
            )

    # -- The rest of the transport's events --------------------------------------------------------------------------

    def connected(self) -> None:
        """Media can come."""
        logger.info("Publisher %s is connected, %s.", self.participant.id, self.transport.srtp_profile)

    def channel_opened(self, channel: DataChannel) -> None:
        """The participant opened a data channel."""
        self.channels = [one for one in self.channels if one.readyState == "open"]
        self.channels.append(channel)

    def channel_message(self, channel: DataChannel, message: bytes | str) -> None:
        """Hands it to the others."""
        self.participant.room.relay(self.participant, channel.label, message)

    def closed(self, reason: str) -> None:
        """The transport is over: so are the tracks."""
        for mid in list(self.tracks):
            self._remove(mid)
        self.channels.clear()
        self.participant.publisher_closed(self, reason)

    def close(self, reason: str = "closed") -> None:
        """Ends it."""
        self.transport.close(reason)

    def statistics(self, now: float) -> dict[str, Any]:
        """Numbers of every layer."""
        return {
            track.info.id: {
                "kind": track.up.kind,
                "source": track.info.source,
                "codec": track.up.codec,
                "layers": {
                    layer.rid or "only": {
                        "bitrate": round(layer.statistics.bitrate(now)),
                        "packets": layer.statistics.packets,
                        "lost": layer.statistics.lost(layer.window.highest),
                        "recovered": layer.statistics.recovered,
                        "unrecovered": layer.missing.gave_up,
                        "jitter": layer.statistics.jitter / track.up.clock_rate,
                        "keyframes": layer.keyframes,
                        "watchers": len(layer.watchers),
                        "paused": layer.paused,
                    }
                    for layer in track.up.layers
                },
            }
            for track in self.tracks.values()
        }


def codec_name(accepted: Accepted) -> str:
    """The codec's name as the media core knows it."""
    return "opus" if accepted.section.kind == "audio" else accepted.codec.name
