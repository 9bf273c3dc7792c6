"""REST calls with the client's credentials."""

from __future__ import annotations

from typing import Any

import httpx

from mana.client.auth import Credentials, refusal
from mana.client.errors import Disconnected

TIMEOUT = 30.0


class Rest:
    """The REST API below ``base`` (``https://chat.example.com/api/``). Paths are relative to it: ``get("rooms")``.

    Each call answers with the decoded body. Raises ``Refused``, ``Unauthenticated`` or ``Disconnected``.
    """

    def __init__(
        self, base: str, credentials: Credentials, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._credentials = credentials
        # Loading all authorities' certificates takes a while, and without TLS there is nothing to verify.
        verify = not base.startswith("http:")
        self.http = httpx.AsyncClient(
            base_url=base.rstrip("/") + "/", timeout=TIMEOUT, verify=verify, transport=transport
        )

    async def token(self, *, fresh: bool = False) -> str:
        """An access token, for the socket."""
        try:
            return await self._credentials.token(self.http, fresh=fresh)
        except httpx.TransportError as error:
            raise Disconnected(str(error) or type(error).__name__) from error

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Any call; ``options`` are those of ``httpx``. A token that was refused is renewed once."""
        for fresh in (False, True):
            headers = {"Authorization": f"Bearer {await self.token(fresh=fresh)}"}
            try:
                answer = await self.http.request(method, path, headers=headers, **options)
            except httpx.TransportError as error:
                raise Disconnected(str(error) or type(error).__name__) from error
            if answer.is_success:
                return answer
            if answer.status_code != 401 or fresh:
                break
        raise refusal(answer)

    async def get(self, path: str, **query: Any) -> Any:
        """Reads."""
        return _body(await self.request("GET", path, params=query))

    async def post(self, path: str, **body: Any) -> Any:
        """Makes something."""
        return _body(await self.request("POST", path, json=body))

    async def put(self, path: str, **body: Any) -> Any:
        """Replaces something."""
        return _body(await self.request("PUT", path, json=body))

    async def patch(self, path: str, **body: Any) -> Any:
        """Changes something."""
        return _body(await self.request("PATCH", path, json=body))

    async def delete(self, path: str) -> None:
        """Removes something."""
        await self.request("DELETE", path)

    async def upload(self, name: str, data: bytes, content_type: str = "application/octet-stream") -> dict[str, Any]:
        """Uploads a file for a message; what the server says of it, ``id`` first of all."""
        body = _body(await self.request("POST", "attachments", files={"file": (name, data, content_type)}))
        return dict(body)

    async def download(self, attachment_id: str) -> bytes:
        """The content of a file."""
        return (await self.request("GET", f"attachments/{attachment_id}/file")).content

    async def aclose(self) -> None:
        """Closes its connections."""
        await self.http.aclose()


def _body(answer: httpx.Response) -> Any:
    return answer.json() if answer.content else None
