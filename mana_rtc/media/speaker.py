"""Who speaks, from the audio levels in RTP headers (RFC 6464): nothing is decoded.

Each voice has a smoothed loudness. The dominant speaker changes when another is clearly louder for a while, so that a
cough or a short word of agreement moves nothing (after Volfin and Cohen, "Dominant Speaker Identification", in small).
"""

from __future__ import annotations

from typing import NamedTuple

#: Loudness (127 minus the level in -dBov) from which a voice counts as speaking.
THRESHOLD = 45.0
#: How much louder another must be, and for how many seconds, to take over from one who still speaks.
MARGIN = 6.0
TAKE_OVER = 0.3
#: Seconds of silence after which nobody holds the floor against somebody who speaks, and after which one no longer
#: speaks.
HOLD = 1.2
#: Weight of a new level per packet when it is louder, and when it is quieter, than the smoothed one.
ATTACK, DECAY = 0.4, 0.06
SILENT = 127


class Voice(NamedTuple):
    """Somebody who speaks."""

    name: str
    loudness: float


class _State:
    __slots__ = ("last_loud", "louder_since", "loudness")

    def __init__(self) -> None:
        self.loudness = 0.0
        self.last_loud = float("-inf")
        self.louder_since = 0.0


class SpeakerDetector:
    """The voices of one room, by name."""

    def __init__(self) -> None:
        self._voices: dict[str, _State] = {}
        #: Who has the floor; the last one keeps it in silence.
        self.dominant: str | None = None

    def level(self, name: str, level: int, now: float) -> None:
        """A packet of this voice had this level, 0 (loud) to 127 (silent)."""
        state = self._voices.get(name)
        if state is None:
            state = self._voices[name] = _State()
        loudness = float(SILENT - level)
        state.loudness += (loudness - state.loudness) * (ATTACK if loudness > state.loudness else DECAY)
        if state.loudness >= THRESHOLD and loudness >= THRESHOLD:
            state.last_loud = now

    def remove(self, name: str) -> None:
        """The voice is gone."""
        self._voices.pop(name, None)
        if self.dominant == name:
            self.dominant = None

    def update(self, now: float) -> bool:
        """Decides who has the floor; to be called some times a second. Whether that changed."""
        speaking = {name: state for name, state in self._voices.items() if now - state.last_loud < HOLD}
        if not speaking:
            return False
        holder = self._voices.get(self.dominant) if self.dominant is not None else None
        holder_speaks = self.dominant in speaking
        best: str | None = None
        for name, state in speaking.items():
            if name == self.dominant:
                continue
            if holder is not None and holder_speaks and state.loudness < holder.loudness + MARGIN:
                state.louder_since = 0.0
                continue
            state.louder_since = state.louder_since or now
            waited = now - state.louder_since >= TAKE_OVER or holder is None
            if waited and (best is None or state.loudness > speaking[best].loudness):
                best = name
        if best is None:
            return False
        self.dominant = best
        for state in self._voices.values():
            state.louder_since = 0.0
        return True

    def speaking(self, now: float) -> list[Voice]:
        """Everybody who speaks, the loudest first."""
        voices = [Voice(name, state.loudness) for name, state in self._voices.items() if now - state.last_loud < HOLD]
        return sorted(voices, key=lambda voice: -voice.loudness)
