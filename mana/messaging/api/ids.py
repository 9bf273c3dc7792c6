"""Views whose addresses name things by ids that are no plain text."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from rest_framework.request import Request

from mana.protocol import ErrorCode, ManaError
from mana.rest import ManaAPIView

_TYPES = {"message_id": UUID, "attachment_id": UUID, "invite_id": int}


class ByIdView(ManaAPIView):
    """An id that can't be one is answered like one that names nothing: with our own 404, not the project's page."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Reads the ids of the address."""
        super().initial(request, *args, **kwargs)
        for name, type_ in _TYPES.items():
            if name in self.kwargs:
                try:
                    self.kwargs[name] = type_(self.kwargs[name])
                    if isinstance(self.kwargs[name], int) and not 0 <= self.kwargs[name] < 2**63:
                        raise ValueError
                except ValueError:
                    raise ManaError(ErrorCode.NOT_FOUND) from None
