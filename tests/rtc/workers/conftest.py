"""A cluster for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rtc.workers.cluster import ENVIRONMENT, Cluster
from tests.support import databases
from tests.support.instances import instance


@pytest.fixture(scope="session")
def workers_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two nodes on PostgreSQL and Redis that write the signals of calls down, and no worker yet."""
    with instance("redis") as redis, databases.fresh("postgres") as url:
        environment = {
            **ENVIRONMENT,
            "CHANNEL_LAYER_URL": redis.url,
            "DJANGO_SETTINGS_MODULE": "tests.rtc.calls.journal_settings",
            "TEST_CALL_JOURNAL": str(tmp_path_factory.mktemp("workers") / "journal"),
        }
        cluster = Cluster(url, environment)
        with cluster.stack:
            cluster.add_node()
            cluster.add_node()
            yield cluster
            for one in (*cluster.nodes, *cluster.workers):
                assert "Traceback" not in one.log, one.log[-4000:]
