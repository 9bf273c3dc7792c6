"""The media core: packets in, packets and decisions out.

Nothing here opens a socket, reads a clock or imports aiortc or Django: every function is told the time (``now``,
seconds of a monotonic clock, as a float) and returns or hands over what is to be sent. That is what makes it testable
packet by packet.
"""
