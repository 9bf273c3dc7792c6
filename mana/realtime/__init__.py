"""Sockets: handshake, session, hub, bus, dispatch, presence. Knows nothing of rooms' rules, calls or keys.

The domain apps plug in from their ``AppConfig.ready()``: frame handlers with ``dispatch.handles``, the source of
stored events with ``source.register``.
"""
