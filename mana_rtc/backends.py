"""Makers of media servers for ``MANA["RTC_BACKEND"]``."""

from __future__ import annotations

from mana.conf import settings
from mana_rtc.sfu.backend import Listener, SfuBackend
from mana_rtc.sfu.config import SfuConfig
from mana_rtc.transport.config import TransportConfig


def config() -> SfuConfig:
    """The SFU's configuration, from ``MANA``."""
    return SfuConfig(
        transport=TransportConfig(
            addresses=tuple(settings.RTC_ADDRESSES),
            port=settings.RTC_PORT,
            announced=tuple(settings.RTC_ANNOUNCED_ADDRESSES),
            udp=settings.RTC_UDP,
            tcp=settings.RTC_TCP,
            accelerated=settings.RTC_ACCELERATION,
        ),
        video_codecs=tuple(settings.RTC_VIDEO_CODECS),
        last_n=settings.RTC_LAST_N,
        start_bitrate=settings.RTC_START_BITRATE,
        max_bitrate=settings.RTC_MAX_BITRATE,
        max_rooms=settings.RTC_MAX_ROOMS,
        max_participants=settings.RTC_MAX_PARTICIPANTS,
        max_tracks=settings.RTC_MAX_TRACKS,
        data_rate=settings.RTC_DATA_BYTES_PER_SECOND,
        peer_timeout=settings.RTC_PEER_TIMEOUT,
        dynacast_delay=settings.RTC_DYNACAST_DELAY,
    )


def embedded(listener: Listener) -> SfuBackend:
    """A media server in a thread of this process."""
    from mana_rtc.sfu.embedded import EmbeddedSfu

    return EmbeddedSfu(config(), listener)


def workers(listener: Listener) -> SfuBackend:
    """Processes of their own, ``manage.py mana_sfu``, that all nodes command over the channel layer."""
    from mana_rtc.workers.backend import WorkersSfu

    return WorkersSfu(listener)


def janus(listener: Listener) -> SfuBackend:
    """Janus with its VideoRoom plugin, at ``MANA["JANUS_URL"]``."""
    from mana_rtc.janus.backend import JanusSfu

    return JanusSfu(listener)
