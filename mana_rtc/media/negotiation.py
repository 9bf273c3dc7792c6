"""Answers to publishers' offers and offers to subscribers, as text.

A publisher gets exactly one codec for each kind, so that every subscriber understands every publisher; a subscriber
gets one section per track, and sections of tracks that are gone are used again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mana_rtc.media import sdp
from mana_rtc.media.sdp import Codec, Description, SdpError, Section

#: Extensions that are understood in what publishers send, and their ids in what subscribers are sent.
PUBLISH_EXTENSIONS = (sdp.MID_URI, sdp.RID_URI, sdp.REPAIRED_RID_URI, sdp.AUDIO_LEVEL_URI)
ABS_SEND_TIME_ID, TRANSPORT_CC_ID = 2, 3
VIDEO_FEEDBACK = ("goog-remb", "transport-cc", "ccm fir", "nack", "nack pli")
#: Payload types that subscribers are offered: the codec's, and that of its retransmissions.
SUBSCRIBE_TYPES = {"opus": (111, -1), "VP8": (96, 97), "H264": (102, 103), "VP9": (98, 99)}
SCTP_PORT = 5000
#: Profiles of H264 that are forwarded, the one that every browser decodes first: constrained baseline, baseline, main,
#: high, constrained high.
H264_PROFILES = ("42e0", "4200", "4d00", "6400", "640c")


@dataclass(frozen=True)
class TransportParameters:
    """What a description tells of our transport. ``candidates`` are the values of a=candidate."""

    ufrag: str
    pwd: str
    fingerprint: str
    candidates: tuple[str, ...]


@dataclass
class Accepted:
    """A media section that a publisher may send in: the codec chosen, and the ids of header extensions."""

    section: Section
    codec: Codec
    rtx_payload_type: int
    rids: list[str]
    extensions: dict[str, int]


@dataclass
class Answer:
    """What is accepted of an offer. ``data`` is the section of the data channels, if there is one."""

    text: str
    accepted: list[Accepted] = field(default_factory=list)
    data: Section | None = None


def check_transport(description: Description, *, offer: bool) -> Section:
    """The section with the peer's transport. Raises ``SdpError`` if it lacks what is needed or has the wrong role."""
    section = description.transport
    if not section.ice_ufrag or not section.ice_pwd:
        raise SdpError("The description has no ICE credentials.")
    if not section.fingerprints:
        raise SdpError("The description has no fingerprint.")
    if section.setup not in (("actpass", "active") if offer else ("active",)):
        raise SdpError("The peer must take the active role in DTLS (a=setup).")
    if description.ice_lite:
        raise SdpError("The peer must be a full ICE agent.")
    return section


def answer(
    offer: Description,
    transport: TransportParameters,
    *,
    video_codecs: Sequence[str],
    max_message_size: int,
    version: int,
) -> Answer:
    """Answers a publisher. ``video_codecs`` are the names of those that may be used, the preferred first."""
    check_transport(offer, offer=True)
    made = Answer("")
    sections: list[list[str]] = []
    bundled: list[str] = []
    for section in offer.sections:
        if section.mid in offer.bundle and section.kind == "application" and made.data is None and section.sctp_port:
            made.data = section
            sections.append(_data_section(section.mid, transport, max_message_size, setup="passive"))
        elif section.mid in offer.bundle and (accepted := _accept(section, video_codecs)) is not None:
            if section.sends:
                made.accepted.append(accepted)
            sections.append(_answer_section(accepted, transport))
        else:
            sections.append(_rejected(section))
            continue
        bundled.append(section.mid)
    made.text = _session(bundled, sections, version)
    return made


def _accept(section: Section, video_codecs: Sequence[str]) -> Accepted | None:
    if section.port == 0 or not section.rtcp_mux:
        return None
    if section.kind == "audio":
        codec = next((one for one in section.codecs.values() if one.rtpmap.lower() == "opus/48000/2"), None)
    elif section.kind == "video":
        codec = _video_codec(section, video_codecs)
    else:
        return None
    if codec is None:
        return None
    # A publisher that has no transport-cc is told what its path takes by REMB, which needs the times of sending.
    told = (sdp.TRANSPORT_CC_URI,) if numbers_packets(section, codec) else (sdp.ABS_SEND_TIME_URI,)
    extensions = {uri: section.extensions[uri] for uri in (*PUBLISH_EXTENSIONS, *told) if uri in section.extensions}
    return Accepted(section, codec, section.rtx_for(codec.payload_type), section.rids, extensions)


def numbers_packets(section: Section, codec: Codec) -> bool:
    """Whether a section's sender takes feedback of transport-cc."""
    return sdp.TRANSPORT_CC_URI in section.extensions and "transport-cc" in codec.feedback


def _video_codec(section: Section, names: Sequence[str]) -> Codec | None:
    for name in names:
        matching = [one for one in section.codecs.values() if one.rtpmap.lower() == f"{name.lower()}/90000"]
        if name == "H264":
            # Packets of more than one NAL unit, and best the profile that every browser decodes.
            matching = [
                one
                for one in matching
                if one.parameter("packetization-mode") == "1" and h264_profile(one) in H264_PROFILES
            ]
            matching.sort(key=lambda one: H264_PROFILES.index(h264_profile(one)))
        elif name == "VP9":
            matching = [one for one in matching if one.parameter("profile-id") in (None, "0")]
        if matching:
            chosen = matching[0]
            chosen.name = name
            return chosen
    return None


def h264_profile(codec: Codec) -> str:
    """The profile and its constraints, without the level (RFC 6184 section 8.1): four hexadecimal digits."""
    return (codec.parameter("profile-level-id") or "42000a")[:4].lower()


def offered_parameters(name: str, codec: Codec) -> str:
    """The format parameters with which a publisher's codec is offered to subscribers.

    Few and of our own making: a section can be used again only for the same parameters, and has its place for ever, so
    a publisher that thinks of new ones again and again would use up everybody's sections.
    """
    if name == "opus":
        stereo = "1" in (codec.parameter("stereo"), codec.parameter("sprop-stereo"))
        return "minptime=10;useinbandfec=1" + (";stereo=1" if stereo else "")
    if name == "H264":
        return f"level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={h264_profile(codec)}1f"
    return "profile-id=0" if name == "VP9" else ""


def _answer_section(accepted: Accepted, transport: TransportParameters) -> list[str]:
    section, codec = accepted.section, accepted.codec
    types = [str(codec.payload_type)] + ([str(accepted.rtx_payload_type)] if accepted.rtx_payload_type >= 0 else [])
    lines = [
        f"m={section.kind} 9 {section.protocol} {' '.join(types)}",
        *_transport_lines(section.mid, transport, setup="passive"),
        "a=recvonly" if section.sends else "a=inactive",
        "a=rtcp-mux",
    ]
    if section.reduced_size:
        lines.append("a=rtcp-rsize")
    lines += [f"a=extmap:{identifier} {uri}" for uri, identifier in accepted.extensions.items()]
    unused = "goog-remb" if numbers_packets(section, codec) else "transport-cc"
    feedback = [one for one in codec.feedback if one in VIDEO_FEEDBACK and one != unused]
    lines += _codec_lines(codec, feedback, accepted.rtx_payload_type)
    if accepted.rids:
        lines += [f"a=rid:{rid} recv" for rid in accepted.rids]
        lines.append(f"a=simulcast:recv {';'.join(accepted.rids)}")
    return lines


def _codec_lines(codec: Codec, feedback: Iterable[str], rtx: int) -> list[str]:
    lines = [f"a=rtpmap:{codec.payload_type} {codec.rtpmap}"]
    if codec.parameters:
        lines.append(f"a=fmtp:{codec.payload_type} {codec.parameters}")
    lines += [f"a=rtcp-fb:{codec.payload_type} {one}" for one in feedback]
    if rtx >= 0:
        lines += [f"a=rtpmap:{rtx} rtx/{codec.clock_rate}", f"a=fmtp:{rtx} apt={codec.payload_type}"]
    return lines


def _transport_lines(mid: str, transport: TransportParameters, *, setup: str) -> list[str]:
    return [
        "c=IN IP4 0.0.0.0",
        "a=rtcp:9 IN IP4 0.0.0.0",
        *(f"a=candidate:{candidate}" for candidate in transport.candidates),
        "a=end-of-candidates",
        f"a=ice-ufrag:{transport.ufrag}",
        f"a=ice-pwd:{transport.pwd}",
        f"a=fingerprint:sha-256 {transport.fingerprint}",
        f"a=setup:{setup}",
        f"a=mid:{mid}",
    ]


def _data_section(mid: str, transport: TransportParameters, max_message_size: int, *, setup: str) -> list[str]:
    lines = _transport_lines(mid, transport, setup=setup)
    lines.remove("a=rtcp:9 IN IP4 0.0.0.0")
    return [
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        *lines,
        f"a=sctp-port:{SCTP_PORT}",
        f"a=max-message-size:{max_message_size}",
    ]


def _rejected(section: Section) -> list[str]:
    return [
        f"m={section.kind} 0 {section.protocol} {' '.join(section.formats)}",
        "c=IN IP4 0.0.0.0",
        "a=inactive",
        f"a=mid:{section.mid}",
    ]


def _session(bundled: Sequence[str], sections: Iterable[list[str]], version: int) -> str:
    lines = [
        "v=0",
        f"o=- 1 {version} IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=ice-lite",
        *([f"a=group:BUNDLE {' '.join(bundled)}"] if bundled else []),
        "a=msid-semantic: WMS *",
    ]
    for section in sections:
        lines += section
    return "\r\n".join(lines) + "\r\n"


# -- Offers to subscribers ---------------------------------------------------------------------------------------------


@dataclass
class OfferedTrack:
    """A section of an offer: a track, or ``active`` false for a section that waits for another track of its kind."""

    mid: str
    kind: str
    codec: str
    parameters: str
    channels: int
    clock_rate: int
    active: bool
    ssrc: int = 0
    rtx_ssrc: int = 0
    stream: str = ""
    track: str = ""
    cname: str = ""


def offer(tracks: Sequence[OfferedTrack], transport: TransportParameters, *, version: int) -> str:
    """The offer for a subscriber: every section that was ever used, in order."""
    sections = [_offer_section(track, transport) for track in tracks]
    return _session([track.mid for track in tracks], sections, version)


def _offer_section(track: OfferedTrack, transport: TransportParameters) -> list[str]:
    payload_type, rtx = SUBSCRIBE_TYPES[track.codec]
    codec = Codec(payload_type, track.codec, track.clock_rate, track.channels, track.parameters)
    types = [str(payload_type)] + ([str(rtx)] if rtx >= 0 else [])
    feedback = VIDEO_FEEDBACK if track.kind == "video" else ("transport-cc", "goog-remb")
    lines = [
        f"m={track.kind} 9 UDP/TLS/RTP/SAVPF {' '.join(types)}",
        *_transport_lines(track.mid, transport, setup="actpass"),
        "a=sendonly" if track.active else "a=inactive",
        "a=rtcp-mux",
        "a=rtcp-rsize",
        f"a=extmap:{ABS_SEND_TIME_ID} {sdp.ABS_SEND_TIME_URI}",
        f"a=extmap:{TRANSPORT_CC_ID} {sdp.TRANSPORT_CC_URI}",
        *_codec_lines(codec, feedback, rtx),
    ]
    if track.active:
        lines.append(f"a=msid:{track.stream} {track.track}")
        if rtx >= 0:
            lines.append(f"a=ssrc-group:FID {track.ssrc} {track.rtx_ssrc}")
        lines.append(f"a=ssrc:{track.ssrc} cname:{track.cname}")
        if rtx >= 0:
            lines.append(f"a=ssrc:{track.rtx_ssrc} cname:{track.cname}")
    return lines


def takes(section: Section, codec: str) -> bool:
    """Whether a subscriber's answer accepts a section with this codec."""
    return (
        section.port != 0
        and section.direction in ("recvonly", "sendrecv")
        and any(one.name.lower() == codec.lower() for one in section.codecs.values())
    )
