"""Addresses and numbers are shown to be one's own: by a mailed token, by a code that the project sends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from django.conf import settings
from django.test import override_settings

from mana import accounts, signals
from mana.accounts.models import Identifier, Profile
from mana.accounts.phones import PhoneVerifier
from mana.accounts.services.verification import email_tokens
from mana.protocol import ErrorCode, ManaError
from tests.support import databases
from tests.support.client import Account
from tests.support.server import Server, serving

PASSWORD = "a-long-one-7"


@pytest.fixture(scope="module")
def verifying() -> Iterator[Server]:
    """A node where addresses must be verified."""
    given = {"MANA_EMAIL_VERIFICATION": "required", "MANA_VERIFICATION_RATE": "2/hour"}
    with databases.fresh("sqlite") as url, serving(url, **given) as running:
        yield running


def _mailed_to(email: str, count: int = 1) -> list[str]:
    """uid and token of the newest of so many mails to an address."""
    folder = Path(settings.EMAIL_FILE_PATH)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        texts = [path.read_bytes() for path in sorted(folder.glob("*.log"))] if folder.exists() else []
        mails = [one for text in texts if (one := message_from_bytes(text, policy=policy.default))["To"] == email]
        if len(mails) == count and all("do nothing." in mail.get_content() for mail in mails):
            lines = mails[-1].get_content().splitlines()
            at = lines.index("Enter these two where you were asked for them:")
            return [line for line in lines[at + 1 : at + 5] if line]
        time.sleep(0.05)
    raise AssertionError(f"There are {len(mails)} mails to {email}.")


def test_an_address_that_must_be_verified_is_good_for_nothing_until_it_is(verifying: Server) -> None:
    with httpx.Client(base_url=verifying.http) as client:
        name = f"p{uuid4().hex[:10]}"
        email = f"{name}@example.com"
        register = {"username": name, "password": PASSWORD, "email": email}
        made = client.post("/api/auth/register", json=register).json()
        ann, other = {"Authorization": f"Bearer {made['access']}"}, Account(verifying)
        client.patch("/api/me", json={"find_by_email": True}, headers=ann)

        def may_sign_in() -> bool:
            return client.post("/api/auth/token", json={"username": email, "password": PASSWORD}).status_code == 200

        def is_found() -> bool:
            return bool(other.get("users", search=email)["results"])

        assert client.get("/api/me", headers=ann).json()["email_verified"] is False
        assert (may_sign_in(), is_found()) == (False, False)
        uid, token = _mailed_to(email)
        for wrong in ({"uid": uid, "token": token[:-1]}, {"uid": "OTk5", "token": token}, {"uid": "é", "token": token}):
            assert client.post("/api/auth/email/confirm", json=wrong).json()["code"] == "forbidden"
        assert client.post("/api/auth/email/confirm", json={"uid": uid, "token": token}).status_code == 204
        assert client.get("/api/me", headers=ann).json()["email_verified"] is True
        assert (may_sign_in(), is_found()) == (True, True)
        again = client.post("/api/auth/email/confirm", json={"uid": uid, "token": token})
        assert (again.status_code, again.json()["code"]) == (403, "forbidden")
        assert client.post("/api/me/email/verification", headers=ann).json()["code"] == "conflict"
        # Another address is another matter.
        changed = {"email": f"new-{email}", "password": PASSWORD}
        assert client.post("/api/me/email", json=changed, headers=ann).json()["email_verified"] is False
        assert may_sign_in() is False
        _mailed_to(f"new-{email}")


def test_mails_can_be_asked_for_and_not_too_often(verifying: Server) -> None:
    ann = Account(verifying)
    assert ann.http.post("/api/me/email/verification").json()["code"] == "invalid"
    email = f"{ann.username}@example.com"
    ann.http.post("/api/me/email", json={"email": email, "password": ann.password})
    _mailed_to(email)
    assert ann.http.post("/api/me/email/verification").status_code == 202
    uid, token = _mailed_to(email, 2)
    assert ann.http.post("/api/me/email/verification").json()["code"] == "rate_limited"
    assert ann.http.post("/api/auth/email/confirm", json={"uid": uid, "token": token}).status_code == 204


def test_without_a_verifier_phones_are_not_verified(alice: Account) -> None:
    number = f"+4930{int(time.time() * 1000) % 10**8:08d}"
    alice.http.post("/api/me/phone", json={"phone": number, "password": alice.password})
    assert alice.http.post("/api/me/phone/verification").json()["code"] == "not_supported"
    assert alice.http.put("/api/me/phone/verification", json={"code": "1"}).json()["code"] == "not_supported"
    assert alice.get("me")["phone_verified"] is False


class Codes(PhoneVerifier):
    """Sends codes to nobody, and takes the one that it made."""

    sent: dict[str, str] = {}

    def begin(self, user: Any, phone: str) -> None:
        self.sent[phone] = "260117"

    def confirm(self, user: Any, phone: str, code: str) -> bool:
        return self.sent.get(phone) == code and bool(self.sent.pop(phone))


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
class TestFromPython:
    REQUIRED: dict[str, Any] = {"EMAIL_VERIFICATION": "required", "PHONE": "optional"}

    @pytest.fixture(autouse=True)
    def no_mails(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        """Whom mails would have gone to."""
        asked: list[Any] = []
        monkeypatch.setattr("mana.accounts.mails.in_background", lambda send, *args: asked.append(args[0]))
        return asked

    def test_nobody_keeps_an_address_from_its_owner(self) -> None:
        with override_settings(MANA=self.REQUIRED):
            squatter = accounts.register(username="squatter", password=PASSWORD, email="ann@example.com")
            ann = accounts.register(username="ann", password=PASSWORD, email="ANN@example.com")
            accounts.mark_verified(ann, "email", "ann@example.com")
            assert accounts.account_key("ann@example.com") == f"pk:{ann.pk}"
            with pytest.raises(ManaError) as refusal:
                accounts.mark_verified(squatter, "email", "ann@example.com")
            assert refusal.value.code is ErrorCode.CONFLICT
            assert not accounts.is_verified(squatter, "email")
        assert Identifier.objects.get(kind="email").user == ann

    def test_a_token_is_for_one_address_and_one_purpose(self, no_mails: list[Any]) -> None:
        from django.contrib.auth.tokens import default_token_generator

        ann = accounts.register(username="ann", password=PASSWORD, email="ann@example.com")
        token = email_tokens.make_token(ann)
        assert not default_token_generator.check_token(ann, token)
        assert not email_tokens.check_token(ann, default_token_generator.make_token(ann))
        assert email_tokens.check_token(ann, token)
        accounts.change_email(ann, "other@example.com")
        assert not email_tokens.check_token(ann, token)
        assert no_mails == [], "nobody asked for verification here"

    def test_what_changes_an_address_by_other_ways_makes_it_unverified(self) -> None:
        ann = accounts.register(username="ann", password=PASSWORD, email="ann@example.com")
        accounts.mark_verified(ann, "email", "ann@example.com")
        assert accounts.is_verified(ann, "email")
        ann.email = "other@example.com"
        ann.save()
        assert not accounts.is_verified(ann, "email")

    def test_who_resets_a_password_by_mail_has_shown_the_address(self) -> None:
        from django.contrib.auth.tokens import default_token_generator
        from django.utils.http import urlsafe_base64_encode

        ann = accounts.register(username="ann", password=PASSWORD, email="ann@example.com")
        uid = urlsafe_base64_encode(str(ann.pk).encode())
        accounts.reset_password(uid, default_token_generator.make_token(ann), "another-long-one-8")
        assert accounts.is_verified(ann, "email")

    def test_a_phone_is_verified_by_the_projects_own_class(self) -> None:
        told: list[Any] = []

        def receiver(sender: Any, user: Any, kind: str, **kwargs: Any) -> None:
            told.append((user, kind))

        chosen = {**self.REQUIRED, "PHONE_VERIFICATION": "required", "PHONE_VERIFIER": f"{__name__}.Codes"}
        signals.identifier_verified.connect(receiver)
        try:
            with override_settings(MANA=chosen):
                ann = accounts.register(username="ann", password=PASSWORD, phone="+4930901820")
                assert accounts.account_key("+4930901820") != f"pk:{ann.pk}"
                accounts.request_phone_verification(ann)
                with pytest.raises(ManaError) as refusal:
                    accounts.verify_phone(ann, "000000")
                assert refusal.value.code is ErrorCode.FORBIDDEN
                accounts.verify_phone(ann, "260117")
                assert accounts.account_key("+4930901820") == f"pk:{ann.pk}"
        finally:
            signals.identifier_verified.disconnect(receiver)
        assert told == [(ann, "phone")]
        assert Profile.objects.get(user=ann).verified_phone == "+4930901820"
