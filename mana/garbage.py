"""How often Python looks for reference cycles in a process that serves sockets.

Python does so after 700 allocations. What carries a message outlives that, is taken for something that stays, and has
the whole process searched again and again: 110 ms each time with 500 connections, a tenth of the processor's time under
load (measured with ``gc.callbacks`` in CPython 3.11). With a longer interval most of it is gone before anybody looks.
"""

from __future__ import annotations

import gc

from mana.conf import settings


def look_rarely() -> None:
    """To be called when everything is imported that stays; ``mana.asgi`` and ``manage.py mana_sfu`` do.

    Leaves alone what is there already (``gc.freeze``), and looks after ``GC_THRESHOLD`` allocations, unless the project
    has chosen a longer interval or turned it off.
    """
    threshold, *others = gc.get_threshold()
    if not gc.isenabled() or not 0 < threshold < settings.GC_THRESHOLD:
        return
    gc.collect()
    gc.freeze()
    gc.set_threshold(settings.GC_THRESHOLD, *others)
