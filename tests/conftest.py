"""Fixtures of the whole suite."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from tests.support import databases
from tests.support.client import Account
from tests.support.server import Server, serving


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Of files that were named, none need have tests that are run alone."""
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and session.config.option.markexpr == "alone":
        session.exitstatus = pytest.ExitCode.OK


@pytest.fixture(scope="session", autouse=True)
def remove_files() -> Iterator[None]:
    """Removes mails and uploads of the whole run."""
    yield
    shutil.rmtree(os.environ["TEST_FILES"], ignore_errors=True)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A node that needs authentication, for tests that leave it as it is. Each brings users of its own."""
    with databases.fresh("sqlite") as url, serving(url) as running:
        yield running


@pytest.fixture(scope="session")
def open_server() -> Iterator[Server]:
    """A node with authentication switched off and tokens accepted in URLs."""
    with (
        databases.fresh("sqlite") as url,
        serving(url, MANA_ENABLE_AUTH="false", MANA_ALLOW_QUERY_TOKEN="true") as running,
    ):
        yield running


@pytest.fixture(autouse=True)
def close_rest_sessions() -> Iterator[None]:
    """Leaves no connection behind."""
    yield
    while Account.opened:
        Account.opened.pop().close()


@pytest.fixture
def account(server: Server) -> Callable[..., Account]:
    """Makes accounts on ``server``."""
    return partial(Account, server)


@pytest.fixture
def alice(account: Callable[..., Account]) -> Account:
    """Somebody."""
    return account()


@pytest.fixture
def bob(account: Callable[..., Account]) -> Account:
    """Somebody else."""
    return account()


@pytest.fixture
def carol(account: Callable[..., Account]) -> Account:
    """A third person."""
    return account()
