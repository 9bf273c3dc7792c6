"""System checks of what the messaging app is given: policies, stores, and where files lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.conf import settings as django_settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.files.storage import FileSystemStorage, InvalidStorageError, storages
from django.utils.module_loading import import_string

from mana.conf import settings


@register("mana")
def check_policies(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """E040 a decision that there is none of, E041 a function that can't be imported."""
    from mana.messaging.policies import MessagingPolicy

    policies = settings.POLICIES
    found: list[CheckMessage] = []
    for decision, path in policies.items() if isinstance(policies, dict) else ():
        if not str(decision).startswith("may_") or not hasattr(MessagingPolicy, str(decision)):
            hint = f"One of {', '.join(name for name in dir(MessagingPolicy) if name.startswith('may_'))}."
            found.append(Error(f"MANA['POLICIES'] names no decision {decision!r}.", hint=hint, id="mana.E040"))
        try:
            import_string(path)
        except (ImportError, AttributeError) as error:
            found.append(Error(f"MANA['POLICIES'][{decision!r}] can't be imported: {error}", id="mana.E041"))
    return found


@register("mana")
def check_storage(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """E042: the storage of attachments is not there."""
    try:
        storages[settings.ATTACHMENT_STORAGE]
    except InvalidStorageError as error:
        hint = f"Add {settings.ATTACHMENT_STORAGE!r} to STORAGES, or name another alias."
        return [Error(f"MANA['ATTACHMENT_STORAGE']: {error}", hint=hint, id="mana.E042")]
    return []


@register(Tags.security, "mana", deploy=True)
def check_files_are_private(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """W040: attachments lie where a web server gives files to everybody."""
    if check_storage():
        return []
    storage = storages[settings.ATTACHMENT_STORAGE]
    public = django_settings.MEDIA_URL not in ("", "/") and bool(django_settings.MEDIA_ROOT)
    if not isinstance(storage, FileSystemStorage) or not public:
        return []
    if not Path(storage.location).resolve().is_relative_to(Path(django_settings.MEDIA_ROOT).resolve()):
        return []
    return [
        checks.Warning(
            "MANA['ATTACHMENT_STORAGE'] lies below MEDIA_ROOT, and MEDIA_URL is served: whoever learns a file's name "
            "gets it without being asked who they are.",
            hint="Give attachments a storage of their own: docs/attachments.md.",
            id="mana.W040",
        )
    ]
