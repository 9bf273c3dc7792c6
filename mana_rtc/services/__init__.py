"""Everything that can be done with calls, as plain functions; each has an async twin with an ``a`` before its name.

::

    from mana import calls

    call = calls.start(room, user, payload={"video": True})

Each takes a Django user, or the ``Person`` that stands for one, and raises ``mana.protocol.ManaError`` when it refuses.
"""

from mana.stores import async_twin
from mana_rtc.services.calls import answer, end, end_as_staff, hang_up, reject, remove, start
from mana_rtc.services.media_state import mute_other, set_state
from mana_rtc.services.recording import begin_recording, recordable
from mana_rtc.services.sweeping import sweep
from mana_rtc.services.transitions import NO_LEG, Leg

aanswer = async_twin(answer)
abegin_recording = async_twin(begin_recording)
aend = async_twin(end)
aend_as_staff = async_twin(end_as_staff)
ahang_up = async_twin(hang_up)
amute_other = async_twin(mute_other)
arecordable = async_twin(recordable)
areject = async_twin(reject)
aremove = async_twin(remove)
aset_state = async_twin(set_state)
astart = async_twin(start)

__all__ = [
    "NO_LEG",
    "Leg",
    "aanswer",
    "abegin_recording",
    "aend",
    "aend_as_staff",
    "ahang_up",
    "amute_other",
    "answer",
    "arecordable",
    "areject",
    "aremove",
    "aset_state",
    "astart",
    "begin_recording",
    "end",
    "end_as_staff",
    "hang_up",
    "mute_other",
    "recordable",
    "reject",
    "remove",
    "set_state",
    "start",
    "sweep",
]
