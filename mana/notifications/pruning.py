"""What ``mana_prune`` removes of notifications."""

from __future__ import annotations

from mana.notifications.stores import ended
from mana.pruning import Task

TASKS = (Task("push subscriptions of ended sign-ins", ended),)
