"""Datagrams to packets and back: sockets, ICE-lite, DTLS, SRTP, SCTP."""
