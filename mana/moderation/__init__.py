"""Reports, the review queue, warnings, the audit log.

``from mana import moderation`` gives the use cases of ``mana.moderation.services``: ``moderation.warn(user)``.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    from mana.facade import service

    return service(__name__, name)
