"""Encrypted backups: one sealed blob per user, that only its user gets."""

from __future__ import annotations

from collections.abc import Callable

from mana_e2ee.core import Backup, RecoveryKey
from tests.e2ee_server.clients import b64
from tests.support import databases
from tests.support.client import Account
from tests.support.server import serving


def test_a_backup_is_stored_replaced_read_and_removed_by_its_user_alone(account: Callable[..., Account]) -> None:
    ada, bob = account(), account()
    key = RecoveryKey.generate()
    assert ada.http.get("/api/e2ee/backup").status_code == 404
    for text in (b"first", b"second"):
        sealed = Backup.seal(key, text)
        answer = ada.http.put("/api/e2ee/backup", json={"backup": b64(sealed)})
        assert answer.status_code == 200, answer.text
        assert answer.json()["size"] == len(sealed)
        assert ada.get("e2ee/backup")["backup"] == b64(sealed)
    assert bob.http.get("/api/e2ee/backup").status_code == 404
    assert bob.http.delete("/api/e2ee/backup").status_code == 204
    assert ada.get("e2ee/backup")["backup"]
    assert ada.http.delete("/api/e2ee/backup").status_code == 204
    assert ada.http.get("/api/e2ee/backup").status_code == 404


def test_a_backup_in_the_clear_or_beside_something_else_is_refused(account: Callable[..., Account]) -> None:
    ada = account()
    sealed = b64(Backup.seal(RecoveryKey.generate(), b"history"))
    for wrong in (
        {"backup": b64(b'{"v": 1, "seed": "in the clear, and long enough for a backup"}')},
        {"backup": sealed[:8]},
        {"backup": "not base64!"},
        {"backup": sealed, "recovery_key": "abcd"},
        {},
    ):
        answer = ada.http.put("/api/e2ee/backup", json=wrong)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    assert ada.http.get("/api/e2ee/backup").status_code == 404


def test_writing_backups_is_limited() -> None:
    with databases.fresh("sqlite") as url, serving(url, MANA_E2EE_BACKUP_RATE="2/hour") as server:
        ada, bob = Account(server), Account(server)
        sealed = b64(Backup.seal(RecoveryKey.generate(), b"history"))
        assert [ada.http.put("/api/e2ee/backup", json={"backup": sealed}).status_code for _ in range(2)] == [200, 200]
        answer = ada.http.put("/api/e2ee/backup", json={"backup": sealed})
        assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
        assert answer.json()["retry_after"] > 0
        assert ada.get("e2ee/backup")["backup"] == sealed, "it may be read all the same"
        assert bob.http.put("/api/e2ee/backup", json={"backup": sealed}).status_code == 200


def test_the_quota_holds_and_backups_can_be_switched_off() -> None:
    for quota, small, large in ((400, 200, 413), (0, 400, 400)):
        with databases.fresh("sqlite") as url, serving(url, MANA_E2EE_BACKUP_BYTES=str(quota)) as server:
            ada = Account(server)
            for length, status in ((100, small), (500, large)):
                sealed = b64(Backup.seal(RecoveryKey.generate(), bytes(length)))
                assert ada.http.put("/api/e2ee/backup", json={"backup": sealed}).status_code == status
