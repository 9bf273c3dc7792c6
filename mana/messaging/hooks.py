"""Asks the receivers of ``message_sending`` whether a message may be stored, and as what."""

from __future__ import annotations

from mana import signals
from mana.messaging.drafts import Draft
from mana.messaging.models import Message
from mana.protocol import ManaError


def has_hooks() -> bool:
    """Whether anybody wants to be asked."""
    return signals.message_sending.has_listeners(Message)


def approve(draft: Draft) -> Draft:
    """The draft as the receivers have left it. Raises the ``ManaError`` of the first that refuses.

    Called before any lock is taken, in a thread: a slow receiver slows only the sender.
    """
    if has_hooks():
        for _, answer in signals.message_sending.send_robust(Message, draft=draft):
            if isinstance(answer, ManaError):
                raise answer
    return draft
