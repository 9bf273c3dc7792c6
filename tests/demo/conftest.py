"""A server for the demo's pages, and browsers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support import databases
from tests.support.browser import Browser
from tests.support.client import Account
from tests.support.server import Server, serving


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A node that tells soon who went away."""
    with databases.fresh("sqlite") as url, serving(url, MANA_PRESENCE_GRACE="0.5") as running:
        yield running


@pytest.fixture(scope="session")
def idle_browsers() -> Iterator[list[Browser]]:
    """Browsers that nobody uses at the moment."""
    idle: list[Browser] = []
    yield idle
    for browser in idle:
        browser.close()


@pytest.fixture
def browser(idle_browsers: list[Browser], server: Server) -> Iterator[Callable[..., Browser]]:
    """Gives out browsers, each as if it were new; an error in the console of one fails the test."""
    used: list[Browser] = []

    def give(server: Server = server) -> Browser:
        one = idle_browsers.pop() if idle_browsers else Browser(server)
        used.append(one)
        one.renew(server)
        return one

    yield give
    errors = []
    for one in used:
        try:
            errors += one.errors()
            one.open_nothing()
        except Exception:
            one.close()
            raise
        idle_browsers.append(one)
    assert not errors


@pytest.fixture
def enter(browser: Callable[..., Browser]) -> Callable[[Account], Browser]:
    """Signs somebody in with a browser of their own."""

    def enter(account: Account) -> Browser:
        one = browser(account.server)
        one.sign_in(account.username, account.password)
        return one

    return enter
