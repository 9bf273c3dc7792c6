"""WebSocket frames to services: calls, signaling between peers, and the media server where aiortc is installed."""

from importlib.util import find_spec

from mana_rtc.handlers import calls, ice, relay, state  # noqa: F401  register themselves

# Without the extra "rtc" there is no media server: clients see from the welcome's features what is offered.
if find_spec("aiortc") is not None:
    from mana_rtc.handlers import media  # noqa: F401
