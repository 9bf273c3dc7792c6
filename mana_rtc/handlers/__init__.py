"""WebSocket frames to services: calls, signaling between peers, and the media server where aiortc is installed."""

from importlib.util import find_spec

from mana.conf import Settings, settings
from mana_rtc.handlers import calls, ice, keys, relay, state  # noqa: F401  register themselves

# Without the extra "rtc" there is no media server in this process: clients see from the welcome's features what is
# offered. One elsewhere needs nothing here.
if find_spec("aiortc") is not None or Settings.RTC_BACKEND.default != settings.RTC_BACKEND:
    from mana_rtc.handlers import media  # noqa: F401
