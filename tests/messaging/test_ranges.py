"""Parts of files: players jump, downloads go on."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.client import Account

DATA = bytes(range(256)) * 40
SIZE = len(DATA)


@pytest.fixture
def url(alice: Account) -> str:
    """A file of alice's."""
    made = alice.http.post("/api/attachments", files={"file": ("sound", b"OggS\x00" + DATA[5:], "audio/ogg")})
    return str(made.json()["url"])


def _get(account: Account, url: str, **headers: str) -> Any:
    return account.http.get(url, headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-99", 0, 99),
        ("bytes=100-", 100, SIZE - 1),
        ("bytes=-10", SIZE - 10, SIZE - 1),
        ("bytes=5000-999999999999", 5000, SIZE - 1),
        (f"bytes=-{SIZE * 2}", 0, SIZE - 1),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE - 1),
    ],
)
def test_a_part_is_given(alice: Account, url: str, asked: str, first: int, last: int) -> None:
    answer = _get(alice, url, Range=asked)
    assert answer.status_code == 206
    assert answer.content == (b"OggS\x00" + DATA[5:])[first : last + 1]
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{SIZE}"
    assert answer.headers["Content-Length"] == str(last - first + 1)
    assert answer.headers["Content-Type"] == "audio/ogg"
    assert "sandbox" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "asked", ["", "bytes=", "bytes=-", "bytes=9-3", "bytes=0-1,5-6", "lines=0-9", "bytes=a-b", "bytes=٣-٤".encode()]
)
def test_what_is_no_part_gets_the_whole(alice: Account, url: str, asked: str | bytes) -> None:
    answer = alice.http.get(url, headers={b"Range": asked if isinstance(asked, bytes) else asked.encode()})
    assert (answer.status_code, len(answer.content)) == (200, SIZE)
    assert answer.headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize("asked", [f"bytes={SIZE}-", "bytes=-0", "bytes=99999999-999999999"])
def test_a_part_behind_the_end_is_refused(alice: Account, url: str, asked: str) -> None:
    answer = _get(alice, url, Range=asked)
    assert (answer.status_code, answer.content) == (416, b"")
    assert answer.headers["Content-Range"] == f"bytes */{SIZE}"


def test_a_download_goes_on_only_with_the_same_file(alice: Account, url: str) -> None:
    tag = _get(alice, url).headers["ETag"]
    assert _get(alice, url, Range="bytes=10-19", If_Range=tag).status_code == 206
    assert _get(alice, url, Range="bytes=10-19", If_Range='"another"').status_code == 200
    assert _get(alice, url, Range="bytes=10-19", If_None_Match=tag).status_code == 304


def test_no_part_is_given_to_strangers(alice: Account, bob: Account, url: str) -> None:
    assert _get(bob, url, Range="bytes=0-9").status_code == 404
