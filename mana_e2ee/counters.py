"""What this process has done with keys and ciphertext, as plain numbers. None of them says for whom."""

from __future__ import annotations


class Counters:
    """All numbers; several threads add to them, and one that is lost now and then does no harm."""

    def __init__(self) -> None:
        self.uploads = 0
        self.lists = 0
        self.claims = 0
        #: One-time prekeys that were handed out, and bundles that went out without one.
        self.one_time = 0
        self.without_one_time = 0
        self.fanouts = 0
        self.envelopes = 0
        self.acked = 0
        self.stale = 0
        #: Ciphertexts that a full queue had to give up.
        self.dropped = 0


counters = Counters()
