"""Descriptions: what is offered is understood, what is answered is right, nonsense is refused with SdpError."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mana_rtc.media import negotiation, sdp
from mana_rtc.media.negotiation import Answer, OfferedTrack, TransportParameters
from mana_rtc.media.sdp import SdpError
from mana_rtc.sfu.publisher import codec_name
from tests.rtc.media.sdps import CHROMIUM_OFFER

OURS = TransportParameters("ufrag123", "p" * 24, ":".join(["CD"] * 32), ("1 1 udp 1 127.0.0.1 5 typ host",))


def answered(text: str = CHROMIUM_OFFER, *codecs: str) -> Answer:
    return negotiation.answer(
        sdp.parse(text), OURS, video_codecs=codecs or ("VP8", "H264"), max_message_size=65536, version=3
    )


def test_the_offer_is_understood() -> None:
    offer = sdp.parse(CHROMIUM_OFFER)
    audio, video, data = offer.sections
    assert offer.bundle == ["0", "1", "2"]
    assert audio.ssrcs == [1111]
    assert audio.extensions[sdp.AUDIO_LEVEL_URI] == 1
    assert audio.codecs[111].parameter("useinbandfec") == "1"
    assert video.rids == ["q", "h", "f"]
    assert video.rtx_for(107) == 108
    assert (data.sctp_port, data.max_message_size) == (5000, 262144)
    assert offer.transport.ice_ufrag == "abcd"


def test_the_answer() -> None:
    made = answered()
    text = made.text
    read = sdp.parse(text)
    assert read.ice_lite
    audio, video, data = read.sections
    assert [section.direction for section in (audio, video)] == ["recvonly", "recvonly"]
    assert [section.setup for section in read.sections] == ["passive"] * 3
    assert list(audio.codecs) == [111]
    assert [codec.name for codec in video.codecs.values()] == ["VP8", "rtx"]
    assert video.codecs[96].feedback == ["transport-cc", "ccm fir", "nack", "nack pli"]
    assert "a=simulcast:recv q;h;f\r\n" in text
    assert all(f"a=rid:{rid} recv\r\n" in text for rid in "qhf")
    assert "a=ssrc" not in text
    assert data.sctp_port == 5000
    assert [accepted.rids for accepted in made.accepted] == [[], ["q", "h", "f"]]
    assert made.data is not None


def test_without_transport_cc_the_times_of_sending_are_asked_for() -> None:
    text = answered(CHROMIUM_OFFER.replace(sdp.TRANSPORT_CC_URI, sdp.ABS_SEND_TIME_URI)).text
    video = sdp.parse(text).sections[1]
    assert video.codecs[96].feedback == ["goog-remb", "ccm fir", "nack", "nack pli"]
    assert video.extensions[sdp.ABS_SEND_TIME_URI] == 3
    assert sdp.TRANSPORT_CC_URI not in text


def test_the_preferred_codec_is_taken() -> None:
    made = answered(CHROMIUM_OFFER, "VP9", "H264", "VP8")
    chosen = made.accepted[1]
    assert (chosen.codec.payload_type, chosen.rtx_payload_type) == (107, 108)  # VP9's profile 2 is not for everybody


def test_what_is_not_supported_is_rejected() -> None:
    made = answered(CHROMIUM_OFFER, "AV1")
    assert "m=video 0 " in made.text
    assert "a=group:BUNDLE 0 2\r\n" in made.text
    assert [accepted.section.kind for accepted in made.accepted] == ["audio"]


@pytest.mark.parametrize("rtpmap", ["opus/8000/2", "opus/48000/255", "opus/48000"])
def test_opus_of_another_kind_is_rejected(rtpmap: str) -> None:
    made = answered(CHROMIUM_OFFER.replace("opus/48000/2", rtpmap))
    assert [accepted.section.kind for accepted in made.accepted] == ["video"]


def test_what_a_publisher_writes_into_its_parameters_is_not_offered_to_others() -> None:
    noise = CHROMIUM_OFFER.replace("useinbandfec=1", "useinbandfec=1;x=192.0.2.1").replace("42e01f", "42e034;evil=1")
    made = answered(noise, "H264")
    audio, video = (negotiation.offered_parameters(codec_name(one), one.codec) for one in made.accepted)
    assert audio == "minptime=10;useinbandfec=1"
    assert video == "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"
    stereo = answered(CHROMIUM_OFFER.replace("useinbandfec=1", "stereo=1")).accepted[0].codec
    assert negotiation.offered_parameters("opus", stereo).endswith(";stereo=1")
    strange = answered(CHROMIUM_OFFER.replace("42e01f", "123456"), "H264")
    assert [one.section.kind for one in strange.accepted] == ["audio"]


def test_sections_that_send_nothing_stay_inactive() -> None:
    made = answered(CHROMIUM_OFFER.replace("a=sendonly\na=msid:stream cam", "a=inactive"))
    assert sdp.parse(made.text).sections[1].direction == "inactive"
    assert len(made.accepted) == 1


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("v=0", "v=1"),
        ("a=group:BUNDLE 0 1 2\n", ""),
        ("a=mid:1", "a=mid:0"),
        ("a=mid:1\n", ""),
        ("a=ice-ufrag:abcd", "a=ice-ufrag:a"),
        ("a=ice-pwd:0123456789012345678901", "a=ice-pwd:short"),
        ("a=fingerprint:sha-256 AB", "a=fingerprint:sha-256 XX"),
        ("a=setup:actpass", "a=setup:whatever"),
        ("m=audio 9", "m=smell 9"),
        ("m=audio 9", "m=audio 99999"),
        ("a=rtpmap:111 opus/48000/2", "a=rtpmap:111 opus"),
        ("a=rtpmap:111 opus/48000/2", "a=rtpmap:-1 opus/48000/2"),
        ("a=extmap:1 ", "a=extmap:0 "),
        ("a=rid:q send", "a=rid:! send"),
        ("a=simulcast:send q;h;~f", "a=simulcast:send q;z"),
        ("a=simulcast:send q;h;~f", "a=simulcast:send q;q"),
        ("a=ssrc:1111", "a=ssrc:99999999999"),
        ("a=sctp-port:5000", "a=sctp-port:70000"),
        ("a=extmap:1 ", "a=extmap:15 "),
        ("a=extmap:1 ", "a=extmap:3 "),
        ("t=0 0", "t=0 0\n" + "m=audio 9 UDP/TLS/RTP/SAVPF 111\n" * 1000),
        ("t=0 0", "t=0 0\n" * 20_000),
        ("useinbandfec=1", "useinbandfec=1\ra=candidate:1 1 udp 1 192.0.2.1 9 typ host"),
        ("useinbandfec=1", "useinbandfec=1\0"),
        ("useinbandfec=1", "useinbandfec=\ud800"),
        ("cname:x", "cname:x\x0b"),
        ("t=0 0", "nonsense"),
        ("t=0 0", "a=" + "x" * 5000),
        ("t=0 0", "a=x\n" * 6000),
        ("t=0 0", "\n".join(f"a=rid:{number} send" for number in range(9))),
        ("a=ssrc:1111", "\n".join(f"a=ssrc:{number} x" for number in range(65))),
    ],
)
def test_malformed_descriptions_are_refused(before: str, after: str) -> None:
    assert before in CHROMIUM_OFFER
    with pytest.raises(SdpError):
        sdp.parse(CHROMIUM_OFFER.replace(before, after))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a=ice-ufrag:abcd\n", ""),
        ("a=fingerprint", "a=no-fingerprint"),
        ("a=setup:actpass", "a=setup:passive"),
        ("s=-", "s=-\na=ice-lite"),
    ],
)
def test_transports_that_cannot_be_are_refused(before: str, after: str) -> None:
    with pytest.raises(SdpError):
        answered(CHROMIUM_OFFER.replace(before, after))


def test_an_offer_to_a_subscriber() -> None:
    tracks = [
        OfferedTrack("0", "audio", "opus", "useinbandfec=1", 2, 48000, True, 5, 0, "ann", "t0", "ann"),
        OfferedTrack("1", "video", "VP8", "", 1, 90000, True, 6, 7, "ann", "t1", "ann"),
        OfferedTrack("2", "video", "H264", "packetization-mode=1", 1, 90000, False),
    ]
    text = negotiation.offer(tracks, OURS, version=9)
    audio, video, free = sdp.parse(text).sections
    assert audio.codecs[111].channels == 2
    assert audio.direction == video.direction == "sendonly"
    assert video.rtx_of == {7: 6}
    assert video.setup == "actpass"
    assert free.direction == "inactive"
    assert free.ssrcs == []
    assert video.extensions[sdp.TRANSPORT_CC_URI] == negotiation.TRANSPORT_CC_ID
    assert negotiation.takes(sdp.parse(text.replace("sendonly", "recvonly")).sections[1], "VP8")
    assert not negotiation.takes(sdp.parse(text.replace("sendonly", "recvonly")).sections[1], "H264")
    assert not negotiation.takes(video, "VP8")


LINES = CHROMIUM_OFFER.splitlines()


@given(st.lists(st.tuples(st.integers(0, len(LINES) - 1), st.text(max_size=30), st.integers(0, 3)), max_size=6))
def test_nothing_but_sdp_errors(changes: list[tuple[int, str, int]]) -> None:
    lines = list(LINES)
    for position, text, kind in changes:
        line = lines[position]
        lines[position] = (text, line + text, line[: len(text)], f"{line.partition(':')[0]}:{text}")[kind]
    with contextlib.suppress(SdpError):
        answered("\n".join(lines))
