"""What an SFU is told at its start. Django's settings are read elsewhere (``mana_rtc.services``)."""

from __future__ import annotations

from dataclasses import dataclass, field

from mana_rtc.transport.config import TransportConfig


@dataclass(frozen=True)
class SfuConfig:
    """Bitrates in bits per second, times in seconds, sizes in bytes."""

    transport: TransportConfig = field(default_factory=TransportConfig)
    #: Video codecs that publishers may use, the preferred first. A room uses one codec only if all its browsers have
    #: it.
    video_codecs: tuple[str, ...] = ("VP8", "H264", "VP9")
    #: Pictures that one subscriber gets at a time beside screens and pinned ones, by who spoke last; 0 for all.
    last_n: int = 0
    start_bitrate: float = 1_000_000
    min_bitrate: float = 100_000
    max_bitrate: float = 20_000_000
    max_rooms: int = 1000
    max_participants: int = 100
    max_tracks: int = 8
    max_channels: int = 8
    max_message_size: int = 65536
    #: Bytes per second that one participant may send in data channels.
    data_rate: float = 262_144
    #: Silence after which a transport counts as dead.
    peer_timeout: float = 20.0
    #: Asks publishers not to send layers that nobody watches, after this time; 0 never.
    dynacast_delay: float = 4.0
