"""The seam where a project sends codes to phones: ``MANA["PHONE_VERIFIER"]``."""

from __future__ import annotations

from typing import Any

from mana.conf import settings
from mana.protocol import ErrorCode, ManaError


class PhoneVerifier:
    """Replace it with a class that reaches phones, by a provider's API for example. This one reaches none.

    Whoever asks is signed in; attempts are limited by ``VERIFICATION_RATE`` and ``VERIFICATION_CODE_RATE``.
    """

    def begin(self, user: Any, phone: str) -> None:
        """Sends a code to ``phone``, a number such as ``+4930901820``. Raises ``ManaError`` if it can't."""
        raise ManaError(ErrorCode.NOT_SUPPORTED, "Phone numbers are not verified here.")

    def confirm(self, user: Any, phone: str, code: str) -> bool:
        """Whether it is the code that was sent to ``phone`` for ``user``. A code is good for one use."""
        raise ManaError(ErrorCode.NOT_SUPPORTED, "Phone numbers are not verified here.")


def verifier() -> PhoneVerifier:
    """The project's."""
    made: PhoneVerifier = settings.PHONE_VERIFIER()
    return made
