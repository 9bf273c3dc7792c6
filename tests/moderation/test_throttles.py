"""What one user may send in a while, by setting."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import override_settings
from rest_framework.test import APIClient

pytestmark = [pytest.mark.database, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def _empty_cache() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


def _user(name: str) -> Any:
    return get_user_model()._default_manager.create_user(username=name)  # type: ignore[attr-defined]


def _client(user: Any) -> APIClient:
    client = APIClient()
    client.force_authenticate(user)
    return client


def test_reports_are_few() -> None:
    ann, others = _user("ann"), [_user(f"other-{number}") for number in range(3)]
    with override_settings(MANA={"REPORT_RATE": "2/hour"}):
        answers = [
            _client(ann).post("/api/reports", {"user_id": str(one.pk), "reason": "spam"}, format="json")
            for one in others
        ]
        assert _client(ann).get("/api/reports").status_code == 200, "reading is not limited"
        assert _client(others[0]).post("/api/reports", {}, format="json").status_code == 400, "nor are others"
    assert [answer.status_code for answer in answers] == [201, 201, 429]
    assert answers[-1].json()["code"] == "rate_limited"
    assert int(answers[-1].headers["Retry-After"]) > 0


def test_uploads_are_limited() -> None:
    client = _client(_user("ann"))
    with override_settings(MANA={"UPLOAD_RATE": "1/hour"}):
        answers = [
            client.post("/api/attachments", {"file": SimpleUploadedFile("x.txt", b"data")}, format="multipart")
            for _ in range(2)
        ]
    assert [answer.status_code for answer in answers] == [201, 429]
