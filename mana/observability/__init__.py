"""Health, metrics, tracing, logs and the doctor: what whoever runs a site sees of it.

Above all other apps of ``mana``: they count and tell (``mana.realtime.counters``, ``mana.realtime.tracing``), this one
reads.
"""
