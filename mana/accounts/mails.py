"""Mails to the owners of accounts, sent without keeping anybody waiting."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from django.core.mail import EmailMultiAlternatives
from django.db import connections
from django.template.loader import render_to_string
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

logger = logging.getLogger("mana.accounts")


def in_background(send: Callable[..., Any], *args: Any) -> None:
    """Sends on a thread, so that neither the answer nor its time tells anything. What goes wrong is logged."""
    threading.Thread(target=_send, args=(send, *args), name="mana-mail", daemon=True).start()


def _send(send: Callable[..., Any], *args: Any) -> None:
    try:
        send(*args)
    except Exception:
        logger.exception("A mail could not be sent.")
    finally:
        connections.close_all()


def send_token(user: Any, address: str, *, template: str, page: str, token: str) -> None:
    """Sends a user a token, in the templates ``mana/<template>_subject.txt`` and ``mana/<template>_email.txt``.

    They get ``user``, ``uid``, ``token`` and ``url``: ``page`` with ``{uid}`` and ``{token}`` filled in, or empty.
    """
    uid = urlsafe_base64_encode(force_bytes(user.pk))
    url = page.replace("{uid}", uid).replace("{token}", token)
    context = {"user": user, "uid": uid, "token": token, "url": url}
    subject = " ".join(render_to_string(f"mana/{template}_subject.txt", context).split())
    text = render_to_string(f"mana/{template}_email.txt", context)
    EmailMultiAlternatives(subject, text, to=[address]).send()
