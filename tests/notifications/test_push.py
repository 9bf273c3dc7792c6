"""Web Push against a push service on loopback that decrypts what it gets, as a browser does."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import http_ece
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.core.management import call_command
from django.test import override_settings
from django.utils import timezone

from mana import accounts, notifications, preferences
from mana.accounts.models import SignIn
from mana.messaging import services
from mana.notifications import occasions, push, stores, webpush
from mana.notifications.models import Notification, PushSubscription
from mana.realtime.models import Node, Session
from tests.support import databases
from tests.support.client import Account
from tests.support.server import serving

AUTH = b"0123456789abcdef"


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Service:
    """A push service with one browser behind it."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.status = 201
        self.arrived = threading.Event()
        self.key = ec.generate_private_key(ec.SECP256R1())
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                text = http_ece.decrypt(body, private_key=service.key, auth_secret=AUTH)
                headers = {name.lower(): value for name, value in self.headers.items()}
                service.got.append((headers, json.loads(text)))
                self.send_response(service.status)
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                self.end_headers()
                service.arrived.set()

            def log_message(self, *args: Any) -> None:
                """Says nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def subscription(self, path: str = "/browser") -> dict[str, Any]:
        """What the browser's ``PushSubscription.toJSON()`` gives."""
        public = self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return {"endpoint": f"{self.url}{path}", "keys": {"p256dh": base64url(public), "auth": base64url(AUTH)}}


@pytest.fixture
def service() -> Iterator[Service]:
    running = Service()
    yield running
    running.server.shutdown()
    running.server.server_close()


def private_key() -> str:
    number = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
    return base64url(number.to_bytes(32))


def settings(service: Service) -> dict[str, Any]:
    return {
        "PUSH_BACKENDS": ["mana.notifications.webpush.WebPush"],
        "WEB_PUSH_PRIVATE_KEY": private_key(),
        "WEB_PUSH_CONTACT": "mailto:ops@example.com",
        "WEB_PUSH_SERVICES": [service.url],
    }


def subscribe(user: Any, service: Service, path: str = "/browser") -> None:
    given = service.subscription(path)
    stores.subscribe(user.pk, given["endpoint"], given["keys"]["p256dh"], given["keys"]["auth"], "")


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
class TestPush:
    @pytest.fixture
    def ann(self) -> Any:
        """Somebody."""
        return accounts.register(username="ann", password="a-long-one-7")

    def test_who_is_away_is_pushed_to_encrypted_and_signed(self, ann: Any, service: Service) -> None:
        with override_settings(MANA=settings(service)):
            subscribe(ann, service)
            row = notifications.send(ann, "Tea?", "Kettle is on", {"room_id": "kitchen"})
            assert service.arrived.wait(20)
            public = webpush.public_key()
        headers, pushed = service.got[0]
        assert (pushed["id"], pushed["title"], pushed["body"]) == (str(row.pk), "Tea?", "Kettle is on")
        assert pushed["data"] == {"room_id": "kitchen"}
        assert headers["ttl"] == "86400"
        scheme, _, rest = headers["authorization"].partition(" ")
        fields = dict(part.strip().split("=", 1) for part in rest.split(","))
        assert (scheme, fields["k"]) == ("vapid", public)
        claims = jwt.decode(fields["t"], options={"verify_signature": False})
        assert (claims["aud"], claims["sub"]) == (service.url, "mailto:ops@example.com")

    def test_who_is_connected_is_not_pushed_to(self, ann: Any, service: Service) -> None:
        node = Node.objects.create(id="node", seen_at=timezone.now())
        Session.objects.create(id="s", node=node, user=ann, device_id="d", connected_at=timezone.now())
        with override_settings(MANA=settings(service)):
            subscribe(ann, service)
            row = notifications.send(ann, "Tea?")
            assert push.push([row]) == 0
        assert service.got == []

    def test_a_silent_one_is_not_pushed(self, ann: Any, service: Service) -> None:
        with override_settings(MANA=settings(service)):
            subscribe(ann, service)
            preferences.set(ann, "notifications.level", "none")
            notifications.send(ann, "Quietly")
            preferences.set(ann, "notifications.level", "all")
            notifications.send(ann, "Loudly")
            assert service.arrived.wait(20)
        assert [pushed["title"] for _, pushed in service.got] == ["Loudly"]

    @pytest.mark.parametrize("end", ["one", "all", "password", "disabled"])
    def test_a_browser_is_not_pushed_to_once_its_sign_in_has_ended(self, ann: Any, service: Service, end: str) -> None:
        with override_settings(MANA=settings(service)):
            accounts.sign_in(ann)
            sign_in = SignIn.objects.get(user=ann)
            given = service.subscription()
            keys = given["keys"]["p256dh"], given["keys"]["auth"]
            stores.subscribe(ann.pk, given["endpoint"], *keys, str(sign_in.pk))
            stores.subscribe(ann.pk, f"{given['endpoint']}/unnamed", *keys, "")
            assert stores.subscribed([ann.pk]) == {ann.pk}
            assert len(stores.subscriptions(ann.pk)) == 2
            if end == "one":
                accounts.end_sign_ins(ann, ids=[str(sign_in.pk)])
            elif end == "all":
                accounts.end_sign_ins(ann)
            elif end == "password":
                ann.set_password("another-long-one-8")
                ann.save()
            else:
                accounts.disable(ann)
            left = [row.endpoint for row in stores.subscriptions(ann.pk)]
            assert left == ([f"{given['endpoint']}/unnamed"] if end in ("one", "password") else [])
            call_command("mana_prune", stdout=io.StringIO())
            assert PushSubscription.objects.count() == len(left)

    def test_who_has_joined_since_is_not_shown_what_was_before(self, ann: Any, service: Service) -> None:
        ben = accounts.register(username="ben", password="a-long-one-7")
        room = services.create_room(ann, name="Secret").room
        message = services.send(room, ann, {"text": "before you came, @all"}, mentions=["@all"])
        services.add_members(room.key, ann, [ben])
        with override_settings(MANA=settings(service)):
            subscribe(ben, service)
            assert occasions.push_message(services.send(room, ann, {"text": "after"})) == 1
            message.extra_json = ""
            assert occasions.push_message(message) == 0
            message.refresh_from_db()
            occasions.message_stored(None, message)
        assert not Notification.objects.filter(user=ben, kind="mention").exists()

    def test_a_browser_that_is_gone_is_forgotten(self, ann: Any, service: Service) -> None:
        service.status = 410
        with override_settings(MANA=settings(service)):
            subscribe(ann, service)
            push.push([notifications.send(ann, "Tea?")])
        assert not PushSubscription.objects.exists()

    def test_a_service_does_not_send_us_elsewhere_and_its_failure_is_no_failure(
        self, ann: Any, service: Service
    ) -> None:
        service.status = 307
        with override_settings(MANA=settings(service)):
            subscribe(ann, service)
            push.push([notifications.send(ann, "Tea?")])
        assert PushSubscription.objects.filter(used_at=None).count() == 1
        assert {headers["host"] for headers, _ in service.got} == {service.url.removeprefix("http://")}

    def test_a_backend_that_raises_fails_nothing(self, ann: Any) -> None:
        with override_settings(MANA={"PUSH_BACKENDS": ["tests.notifications.test_push.Broken"]}):
            row = notifications.send(ann, "Tea?")
            assert push.push([row]) == 1
        assert notifications.unread_count(ann) == 1

    @pytest.mark.parametrize(
        "endpoint",
        [
            "http://127.0.0.1:8000/admin",
            "http://169.254.169.254/latest/meta-data",
            "https://fcm.googleapis.com.evil.example/x",
            "https://fcm.googleapis.com@evil.example/x",
            "https://evil.example/https://fcm.googleapis.com/",
            "http://fcm.googleapis.com/x",
            "file:///etc/passwd",
            "nonsense",
            "",
        ],
    )
    def test_only_push_services_are_called(self, endpoint: str) -> None:
        assert not webpush.may_be_called(endpoint)
        assert webpush.may_be_called("https://fcm.googleapis.com/fcm/send/abc")
        assert webpush.may_be_called("https://updates.push.services.mozilla.com/wpush/v2/abc")

    def test_a_message_is_pushed_to_members_who_are_away_and_want_all(self, ann: Any, service: Service) -> None:
        bob, carol = (accounts.register(username=name, password="a-long-one-7") for name in ("bob", "carol"))
        room = services.create_room(ann, name="Kitchen", members=[bob, carol]).room
        services.set_preferences(room.key, carol, notifications="mentions")
        with override_settings(MANA=settings(service)):
            for person in (ann, bob, carol):
                subscribe(person, service, f"/{person.username}")
            message = services.send(room, ann, {"text": "Tea?"})
            assert service.arrived.wait(20)
            assert occasions.push_message(message) == 1
        assert {(pushed["title"], pushed["body"]) for _, pushed in service.got} == {("ann in Kitchen", "Tea?")}
        assert service.got[0][1]["data"]["room_id"] == room.key
        assert not Notification.objects.exists(), "a message is stored a second time"


class Broken:
    def reaches(self, user_pks: Any) -> set[Any]:
        return set(user_pks)

    def push(self, notification: Any) -> None:
        raise RuntimeError("no network")


def test_a_browser_subscribes_and_is_forgotten(service: Service) -> None:
    given = {
        f"MANA_{name}": json.dumps(value) if isinstance(value, list) else value
        for name, value in settings(service).items()
    }
    with databases.fresh("sqlite") as url, serving(url, **given) as server:
        ann = Account(server)
        assert len(base64.urlsafe_b64decode(ann.get("push/key")["public_key"] + "==")) == 65
        subscription = service.subscription()
        assert ann.http.post("/api/push/subscriptions", json=subscription).status_code == 204
        assert ann.http.post("/api/push/subscriptions", json=subscription).status_code == 204
        elsewhere = {**subscription, "endpoint": "http://127.0.0.1:1/"}
        assert ann.http.post("/api/push/subscriptions", json=elsewhere).json()["code"] == "invalid"
        weak = {**subscription, "keys": {"p256dh": "x", "auth": "y"}}
        assert ann.http.post("/api/push/subscriptions", json=weak).status_code == 400
        Account(server).post("contacts", user_id=ann.id)
        assert service.arrived.wait(20)
        query = {"endpoint": subscription["endpoint"]}
        assert ann.http.delete("/api/push/subscriptions", params=query).status_code == 204
        assert ann.http.delete("/api/push/subscriptions", params=query).status_code == 404
    assert [pushed["kind"] for _, pushed in service.got] == ["contact_request"]


def test_without_push_the_server_says_so(alice: Account, service: Service) -> None:
    assert alice.http.get("/api/push/key").json()["code"] == "not_supported"
    assert alice.http.post("/api/push/subscriptions", json=service.subscription()).json()["code"] == "not_supported"
