"""Everything that can be done with calls, as plain functions; each has an async twin with an ``a`` before its name.

::

    from mana import calls

    call = calls.start(room, user, payload={"video": True})

Each takes a Django user, or the ``Person`` that stands for one, and raises ``mana.protocol.ManaError`` when it refuses.
"""

from mana.stores import async_twin
from mana_rtc.services.calls import answer, end, end_as_staff, hang_up, reject, remove, start
from mana_rtc.services.media_state import mute_other, set_state
from mana_rtc.services.sweeping import sweep
from mana_rtc.services.transitions import NO_LEG, Leg

aanswer = async_twin(answer)
aend = async_twin(end)
aend_as_staff = async_twin(end_as_staff)
ahang_up = async_twin(hang_up)
amute_other = async_twin(mute_other)
areject = async_twin(reject)
aremove = async_twin(remove)
aset_state = async_twin(set_state)
astart = async_twin(start)

__all__ = [
    "NO_LEG",
    "Leg",
    "aanswer",
    "aend",
    "aend_as_staff",
    "ahang_up",
    "amute_other",
    "answer",
    "areject",
    "aremove",
    "aset_state",
    "astart",
    "end",
    "end_as_staff",
    "hang_up",
    "mute_other",
    "reject",
    "remove",
    "set_state",
    "start",
    "sweep",
]
