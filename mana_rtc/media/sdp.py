"""Session descriptions (RFC 8866) as WebRTC writes them (RFC 8829): read strictly and within bounds.

What a forwarder has no use for is skipped; what it does use must be well-formed. ``SdpError`` says in words for the
developer what is wrong.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

MAX_LENGTH = 65536
MAX_LINES = 5000
MAX_LINE = 4096
MAX_SECTIONS = 128
MAX_CODECS = 128
MAX_RIDS = 8
MAX_SSRCS = 64

MID_URI = "urn:ietf:params:rtp-hdrext:sdes:mid"
RID_URI = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
REPAIRED_RID_URI = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
AUDIO_LEVEL_URI = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
ABS_SEND_TIME_URI = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
TRANSPORT_CC_URI = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"

DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
_TOKEN = re.compile(r"[A-Za-z0-9_.+/=~!#$%&'*^`{|}-]{1,256}")
_RID = re.compile(r"[A-Za-z0-9_-]{1,16}")
_ICE_CHARS = re.compile(r"[A-Za-z0-9+/]+")
#: Control characters, which some readers of a description take for the end of a line, and halves of characters.
_NO_TEXT = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_FINGERPRINT = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){15,63}")


class SdpError(ValueError):
    """The description is malformed, or asks for what is not supported."""


@dataclass
class Codec:
    """A payload type: its encoding, and what may be told about it. ``feedback`` are the values of a=rtcp-fb."""

    payload_type: int
    name: str
    clock_rate: int
    channels: int = 1
    parameters: str = ""
    feedback: list[str] = field(default_factory=list)

    def parameter(self, name: str) -> str | None:
        """The value of one of the format's parameters (a=fmtp)."""
        for part in self.parameters.split(";"):
            key, _, value = part.strip().partition("=")
            if key.lower() == name:
                return value
        return None

    @property
    def rtpmap(self) -> str:
        """The value of a=rtpmap without the payload type."""
        return f"{self.name}/{self.clock_rate}" + (f"/{self.channels}" if self.channels > 1 else "")


@dataclass
class Section:
    """A media section. ``rids`` are those of a=simulcast:send, in its order."""

    kind: str
    port: int
    protocol: str
    formats: list[str]
    mid: str = ""
    direction: str = "sendrecv"
    ice_ufrag: str = ""
    ice_pwd: str = ""
    fingerprints: list[tuple[str, str]] = field(default_factory=list)
    setup: str = ""
    codecs: dict[int, Codec] = field(default_factory=dict)
    extensions: dict[str, int] = field(default_factory=dict)
    rids: list[str] = field(default_factory=list)
    ssrcs: list[int] = field(default_factory=list)
    rtx_of: dict[int, int] = field(default_factory=dict)
    stream: str = ""
    rtcp_mux: bool = False
    reduced_size: bool = False
    sctp_port: int = 0
    max_message_size: int = 65536

    @property
    def sends(self) -> bool:
        """Whether whoever wrote the section sends in it."""
        return self.port != 0 and self.direction in ("sendrecv", "sendonly")

    def rtx_for(self, payload_type: int) -> int:
        """The payload type of retransmissions of another, or -1."""
        for codec in self.codecs.values():
            if codec.name.lower() == "rtx" and codec.parameter("apt") == str(payload_type):
                return codec.payload_type
        return -1


@dataclass
class Description:
    """A whole description."""

    sections: list[Section]
    bundle: list[str]
    ice_lite: bool = False

    @property
    def transport(self) -> Section:
        """The section that describes the one transport that all of them share."""
        return next((one for one in self.sections if one.mid == self.bundle[0]), self.sections[0])


def parse(text: str) -> Description:
    """Reads an offer or answer. Raises ``SdpError``."""
    if len(text) > MAX_LENGTH:
        raise SdpError("The description is too long.")
    text = text.replace("\r\n", "\n")
    if _NO_TEXT.search(text):
        raise SdpError("The description has characters that belong in none.")
    lines = text.split("\n")
    if len(lines) > MAX_LINES:
        raise SdpError("The description has too many lines.")
    if lines[0].strip() != "v=0":
        raise SdpError("The description does not begin with v=0.")
    reader = _Reader()
    for line in lines:
        if line:
            reader.line(line)
    return reader.finish()


class _Reader:
    """Reads line by line. What a session-level attribute says holds for every section that does not say otherwise."""

    def __init__(self) -> None:
        self.session = Section("session", 0, "", [])
        self.sections: list[Section] = []
        self.bundle: list[str] = []
        self.ice_lite = False
        self._declared: set[str] = set()

    def line(self, line: str) -> None:
        if len(line) > MAX_LINE or len(line) < 2 or line[1] != "=":
            raise SdpError("A line of the description is malformed.")
        if line[0] == "m":
            self._begin(line[2:])
        elif line[0] == "a":
            name, _, value = line[2:].partition(":")
            handler = _ATTRIBUTES.get(name)
            if handler is not None:
                handler(self, self.sections[-1] if self.sections else self.session, value)

    def _begin(self, value: str) -> None:
        if len(self.sections) >= MAX_SECTIONS:
            raise SdpError("The description has too many media sections.")
        parts = value.split()
        if len(parts) < 4 or parts[0] not in ("audio", "video", "application"):
            raise SdpError("A media section is malformed.")
        if len(parts) > MAX_CODECS:
            raise SdpError("A media section has too many formats.")
        session = self.session
        self.sections.append(
            Section(
                parts[0],
                _number(parts[1], 65535),
                parts[2],
                parts[3:],
                direction=session.direction,
                ice_ufrag=session.ice_ufrag,
                ice_pwd=session.ice_pwd,
                fingerprints=list(session.fingerprints),
                setup=session.setup,
                extensions=dict(session.extensions),
            )
        )
        self._declared = set()

    def finish(self) -> Description:
        if not self.sections:
            raise SdpError("The description has no media section.")
        mids = [one.mid for one in self.sections]
        if not all(mids) or len(set(mids)) != len(mids):
            raise SdpError("Every media section needs a mid of its own.")
        known = set(mids)
        bundle = [mid for mid in self.bundle if mid in known]
        if not bundle:
            raise SdpError("The media sections must be bundled (a=group:BUNDLE).")
        for section in self.sections:
            if section.kind != "application":
                formats = [_number(one, 127) for one in section.formats]
                section.codecs = {one: section.codecs[one] for one in formats if one in section.codecs}
        return Description(self.sections, bundle, self.ice_lite)

    # -- Attributes --------------------------------------------------------------------------------------------------

    def group(self, section: Section, value: str) -> None:
        parts = value.split()
        if section is self.session and parts[:1] == ["BUNDLE"]:
            self.bundle = [_token(part, "mid") for part in parts[1 : MAX_SECTIONS + 1]]

    def lite(self, section: Section, value: str) -> None:
        self.ice_lite = True

    def mid(self, section: Section, value: str) -> None:
        section.mid = _token(value, "mid")
        if len(section.mid) > 16:
            raise SdpError("A mid is too long.")

    def ufrag(self, section: Section, value: str) -> None:
        if not 4 <= len(value) <= 256 or not _ICE_CHARS.fullmatch(value):
            raise SdpError("The ICE user name fragment is malformed.")
        section.ice_ufrag = value

    def pwd(self, section: Section, value: str) -> None:
        if not 22 <= len(value) <= 256 or not _ICE_CHARS.fullmatch(value):
            raise SdpError("The ICE password is malformed.")
        section.ice_pwd = value

    def fingerprint(self, section: Section, value: str) -> None:
        algorithm, _, digest = value.partition(" ")
        if not _FINGERPRINT.fullmatch(digest) or len(section.fingerprints) >= 8:
            raise SdpError("The fingerprint is malformed.")
        section.fingerprints.append((algorithm.lower(), digest.upper()))

    def setup(self, section: Section, value: str) -> None:
        if value not in ("active", "passive", "actpass", "holdconn"):
            raise SdpError("a=setup has a value that is not known.")
        section.setup = value

    def rtpmap(self, section: Section, value: str) -> None:
        number, _, encoding = value.partition(" ")
        parts = encoding.split("/")
        if len(parts) not in (2, 3):
            raise SdpError("a=rtpmap is malformed.")
        payload_type = _number(number, 127)
        section.codecs[payload_type] = Codec(
            payload_type,
            _token(parts[0], "name of an encoding"),
            _number(parts[1], 1_000_000) or 1,
            _number(parts[2], 255) if len(parts) == 3 else 1,
        )

    def fmtp(self, section: Section, value: str) -> None:
        number, _, parameters = value.partition(" ")
        codec = section.codecs.get(_number(number, 127))
        if codec is not None:
            codec.parameters = parameters.strip()

    def feedback(self, section: Section, value: str) -> None:
        number, _, kind = value.partition(" ")
        codecs = section.codecs.values() if number == "*" else [section.codecs.get(_number(number, 127))]
        for codec in codecs:
            if codec is not None and len(codec.feedback) < 16:
                codec.feedback.append(kind.strip())

    def extmap(self, section: Section, value: str) -> None:
        parts = value.split()
        if len(parts) < 2:
            raise SdpError("a=extmap is malformed.")
        identifier = _number(parts[0].partition("/")[0], 255)
        if not identifier or identifier == 15 or len(section.extensions) >= 64:  # 15 is reserved (RFC 8285)
            raise SdpError("a=extmap is malformed.")
        if any(identifier == other for uri, other in section.extensions.items() if uri != parts[1]):
            raise SdpError("Two header extensions have one id.")
        section.extensions[parts[1]] = identifier

    def rid(self, section: Section, value: str) -> None:
        parts = value.split()
        if len(parts) < 2 or not _RID.fullmatch(parts[0]):
            raise SdpError("a=rid is malformed.")
        if parts[1] == "send":
            if len(self._declared) >= MAX_RIDS:
                raise SdpError("A media section has too many rids.")
            self._declared.add(parts[0])

    def simulcast(self, section: Section, value: str) -> None:
        parts = value.split()
        if len(parts) not in (2, 4):
            raise SdpError("a=simulcast is malformed.")
        for direction, listed in zip(parts[::2], parts[1::2], strict=True):
            if direction == "send":
                # Of alternatives the first; a layer that begins paused ("~") is a layer all the same.
                rids = [one.split(",")[0].removeprefix("~") for one in listed.split(";")]
                if len(set(rids)) != len(rids) or not set(rids) <= self._declared:
                    raise SdpError("a=simulcast names rids that are not there.")
                section.rids = rids

    def ssrc(self, section: Section, value: str) -> None:
        number = _number(value.partition(" ")[0], 0xFFFFFFFF)
        if number not in section.ssrcs:
            if len(section.ssrcs) >= MAX_SSRCS:
                raise SdpError("A media section has too many SSRCs.")
            section.ssrcs.append(number)

    def ssrc_group(self, section: Section, value: str) -> None:
        parts = value.split()
        if parts[:1] == ["FID"] and len(parts) == 3 and len(section.rtx_of) < MAX_SSRCS:
            section.rtx_of[_number(parts[2], 0xFFFFFFFF)] = _number(parts[1], 0xFFFFFFFF)

    def msid(self, section: Section, value: str) -> None:
        section.stream = value.split(" ", maxsplit=1)[0][:64]

    def rtcp_mux(self, section: Section, value: str) -> None:
        section.rtcp_mux = True

    def rtcp_rsize(self, section: Section, value: str) -> None:
        section.reduced_size = True

    def sctp_port(self, section: Section, value: str) -> None:
        section.sctp_port = _number(value, 65535)

    def max_message_size(self, section: Section, value: str) -> None:
        section.max_message_size = _number(value, 2**63)


def _direction(name: str) -> object:
    def set_direction(reader: _Reader, section: Section, value: str) -> None:
        section.direction = name

    return set_direction


_ATTRIBUTES = {
    "group": _Reader.group,
    "ice-lite": _Reader.lite,
    "mid": _Reader.mid,
    "ice-ufrag": _Reader.ufrag,
    "ice-pwd": _Reader.pwd,
    "fingerprint": _Reader.fingerprint,
    "setup": _Reader.setup,
    "rtpmap": _Reader.rtpmap,
    "fmtp": _Reader.fmtp,
    "rtcp-fb": _Reader.feedback,
    "extmap": _Reader.extmap,
    "rid": _Reader.rid,
    "simulcast": _Reader.simulcast,
    "ssrc": _Reader.ssrc,
    "ssrc-group": _Reader.ssrc_group,
    "msid": _Reader.msid,
    "rtcp-mux": _Reader.rtcp_mux,
    "rtcp-rsize": _Reader.rtcp_rsize,
    "sctp-port": _Reader.sctp_port,
    "max-message-size": _Reader.max_message_size,
}
for _name in DIRECTIONS:
    _ATTRIBUTES[_name] = _direction(_name)  # type: ignore[assignment]


def _number(text: str, maximum: int) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 20 or int(text) > maximum:
        raise SdpError("A number in the description is malformed.")
    return int(text)


def _token(text: str, what: str) -> str:
    if not _TOKEN.fullmatch(text):
        raise SdpError(f"A {what} in the description is malformed.")
    return text
