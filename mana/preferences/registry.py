"""Which preferences there are. Apps register theirs in ``AppConfig.ready()``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError

from mana.protocol import ErrorCode, ManaError

Validator = Callable[[Any], None]


@dataclass(frozen=True, slots=True)
class Kind:
    """A preference: its key, the type of its value, and what it is while nobody has chosen."""

    key: str
    type: type
    default: Any
    help_text: str = ""
    choices: tuple[Any, ...] = ()
    validator: Validator | None = None

    def check(self, value: Any) -> None:
        """Raises ``ManaError`` with ``invalid`` if the value can't be chosen."""
        given = type(value)
        if not (
            given is self.type or (self.type is float and given is int) or (value is None and self.default is None)
        ):
            raise ManaError(ErrorCode.INVALID, f"{self.key} must be of type {self.type.__name__}.")
        if self.choices and value not in self.choices:
            raise ManaError(ErrorCode.INVALID, f"{self.key} must be one of {', '.join(map(str, self.choices))}.")
        if self.validator is not None and value is not None:
            try:
                self.validator(value)
            except (ValidationError, ValueError) as error:
                text = error.messages[0] if isinstance(error, ValidationError) else str(error)
                raise ManaError(ErrorCode.INVALID, f"{self.key}: {text}") from None


_kinds: dict[str, Kind] = {}


def register(
    key: str,
    type: type,  # noqa: A002  the word that says it
    default: Any,
    *,
    choices: tuple[Any, ...] = (),
    validator: Validator | None = None,
    help_text: str = "",
) -> Kind:
    """Registers a preference. A key that ends in ``.*`` stands for all that begin like it: one per room, say.

    ``type`` is one of ``bool``, ``int``, ``float``, ``str``, ``list`` and ``dict``; with the default ``None`` the value
    may be that as well. ``validator`` raises ``ValidationError`` or ``ValueError``. Registering a key again replaces
    it.
    """
    if type not in (bool, int, float, str, list, dict):
        raise TypeError(f"{key}: a preference is of type bool, int, float, str, list or dict, not {type!r}.")
    kind = Kind(key, type, default, help_text, tuple(choices), validator)
    kind.check(default)
    _kinds[key] = kind
    return kind


def unregister(key: str) -> None:
    """Takes a preference back. Stored choices stay and are not shown."""
    _kinds.pop(key, None)


def kinds() -> list[Kind]:
    """All preferences, by their keys."""
    return [_kinds[key] for key in sorted(_kinds)]


def kind_of(key: str) -> Kind:
    """The preference that a key names. Raises ``ManaError`` with ``not_found``."""
    found = _kinds.get(key) if not key.endswith(".*") else None
    if found is None:
        found = next((kind for name, kind in _kinds.items() if name.endswith(".*") and _stands_for(name, key)), None)
    if found is None:
        raise ManaError(ErrorCode.NOT_FOUND, f"There is no preference {key[:200]!r}.")
    return found


def _stands_for(pattern: str, key: str) -> bool:
    rest = key.removeprefix(pattern[:-1])
    return rest != key and 1 <= len(rest) <= 128 and rest != "*" and rest.isprintable()
