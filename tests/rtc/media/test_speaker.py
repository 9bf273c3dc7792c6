"""The floor goes to who speaks."""

from __future__ import annotations

from mana_rtc.media.speaker import HOLD, SpeakerDetector

LOUD, MEDIUM, QUIET = 30, 50, 127


def speak(detector: SpeakerDetector, now: float, seconds: float, **levels: int) -> tuple[float, list[str]]:
    """Everybody's level for a while, a packet each 20 ms; the time after it and who got the floor."""
    changes = []
    for step in range(round(seconds / 0.02)):
        now += 0.02
        for name, level in levels.items():
            detector.level(name, level, now)
        if step % 5 == 4 and detector.update(now):
            assert detector.dominant is not None
            changes.append(detector.dominant)
    return now, changes


def test_the_first_voice_gets_the_floor_at_once() -> None:
    detector = SpeakerDetector()
    assert not detector.update(0.0)
    _, changes = speak(detector, 0.0, 0.2, ann=LOUD, ben=QUIET)
    assert changes == ["ann"]


def test_it_goes_to_the_next_after_the_last_is_silent() -> None:
    detector = SpeakerDetector()
    now, _ = speak(detector, 0.0, 2, ann=LOUD, ben=QUIET)
    now, changes = speak(detector, now, HOLD + 2, ann=QUIET, ben=LOUD)
    assert changes == ["ben"]
    _, changes = speak(detector, now, 3, ann=QUIET, ben=QUIET)
    assert changes == []
    assert detector.dominant == "ben"  # silence takes it from nobody


def test_a_cough_takes_nothing() -> None:
    detector = SpeakerDetector()
    now, _ = speak(detector, 0.0, 2, ann=LOUD, ben=QUIET)
    now, changes = speak(detector, now, 0.2, ann=LOUD, ben=10)
    assert changes == []


def test_who_is_clearly_louder_takes_over() -> None:
    detector = SpeakerDetector()
    now, _ = speak(detector, 0.0, 2, ann=MEDIUM, ben=QUIET)
    _, changes = speak(detector, now, 2, ann=MEDIUM, ben=LOUD)
    assert changes == ["ben"]


def test_two_equal_voices_do_not_fight() -> None:
    detector = SpeakerDetector()
    now, _ = speak(detector, 0.0, 2, ann=LOUD, ben=QUIET)
    now, changes = speak(detector, now, 5, ann=LOUD, ben=LOUD)
    assert changes == []
    assert {voice.name for voice in detector.speaking(now)} == {"ann", "ben"}


def test_who_leaves_leaves_the_floor() -> None:
    detector = SpeakerDetector()
    now, _ = speak(detector, 0.0, 1, ann=LOUD)
    detector.remove("ann")
    assert detector.dominant is None
    assert detector.speaking(now) == []
    _, changes = speak(detector, now, 1, ben=LOUD)
    assert changes == ["ben"]
