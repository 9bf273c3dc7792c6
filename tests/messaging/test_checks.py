"""System checks of policies and of where files lie; policies that replace single decisions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.checks import run_checks
from django.test import override_settings

from mana.messaging import services
from mana.protocol import ErrorCode, ManaError


def nobody_makes_rooms(person: Any, room_type: str) -> None:
    """A decision of a project's own."""
    raise ManaError(ErrorCode.FORBIDDEN, "Not today.")


def _ids(**overrides: Any) -> set[str]:
    with override_settings(**overrides):
        return {str(message.id) for message in run_checks(include_deployment_checks=True)}


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_one_decision_is_replaced_by_a_function() -> None:
    ann = get_user_model()._default_manager.create_user(username="ann")  # type: ignore[attr-defined]
    policies = {"may_create_room": f"{__name__}.nobody_makes_rooms"}
    with override_settings(MANA={"POLICIES": policies}), pytest.raises(ManaError, match="Not today"):
        services.create_room(ann)
    assert services.create_room(ann).room.pk


def test_policies_that_decide_nothing_are_errors() -> None:
    assert "mana.E040" in _ids(MANA={"POLICIES": {"may_fly": f"{__name__}.nobody_makes_rooms"}})
    assert "mana.E041" in _ids(MANA={"POLICIES": {"may_create_room": "nowhere.at_all"}})
    fine = _ids(MANA={"POLICIES": {"may_create_room": f"{__name__}.nobody_makes_rooms"}})
    assert not {"mana.E040", "mana.E041"} & fine


def test_a_storage_that_is_not_there_is_an_error() -> None:
    assert "mana.E042" in _ids(MANA={"ATTACHMENT_STORAGE": "elsewhere"})
    assert "mana.E042" not in _ids()


def test_files_that_everybody_could_fetch_are_warned_of(tmp_path: Path) -> None:
    def storage(location: Path) -> dict[str, Any]:
        backend = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": str(location)}}
        return {"default": backend, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}

    media, private = tmp_path / "media", tmp_path / "private"
    served = {"MEDIA_ROOT": str(media), "MEDIA_URL": "/media/"}
    assert "mana.W040" in _ids(**served, STORAGES=storage(media / "files"))
    assert "mana.W040" not in _ids(**served, STORAGES=storage(private))
    assert "mana.W040" not in _ids(MEDIA_ROOT=str(media), MEDIA_URL="", STORAGES=storage(media))
