"""No pages: only the sockets are measured."""

from __future__ import annotations

from typing import Any

urlpatterns: list[Any] = []
