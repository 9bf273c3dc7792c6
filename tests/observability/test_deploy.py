"""The files of ``docs/deploy``: what can be run is run, and what is named exists."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from mana.observability.metrics import ManaCollector
from tests.support import databases
from tests.support.server import free_port
from tests.support.services import URLS, require

DEPLOY = Path(__file__).resolve().parent.parent.parent / "docs" / "deploy"


@pytest.mark.slow
def test_a_node_behind_nginx_dies_and_no_message_is_lost() -> None:
    require("nginx")
    require("redis")
    with databases.fresh("postgres") as url:
        done = subprocess.run(
            ["bash", str(DEPLOY / "three_nodes.sh")],
            env={
                **os.environ,
                "DATABASE_URL": url,
                "CHANNEL_LAYER_URL": URLS["redis"],
                "PORT": str(free_port()),
                "NODE_PORTS": " ".join(str(free_port()) for _ in range(3)),
                "CHAT_SECONDS": "3",
                "PYTHONWARNINGS": "ignore",
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=170,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "does not answer" in done.stdout  # the node that was killed
    assert "lost 0, doubled 0, received but not stored 0, out of order 0" in done.stdout
    reopened = re.search(r"sockets lost and reopened (\d+)", done.stdout)
    assert reopened is not None
    assert int(reopened[1]) > 0, "Nobody was on the node that was killed."


def test_every_figure_that_is_asked_for_is_there() -> None:
    known = {name for metric in ManaCollector().collect() for name in names_of(metric.name, metric.type)}
    known.add("mana_bus_connected")  # only where a layer connects nodes
    asked = set(re.findall(r"\bmana_\w+", (DEPLOY / "alerts.yml").read_text() + (DEPLOY / "grafana.json").read_text()))
    assert asked <= known


def names_of(name: str, kind: str) -> list[str]:
    """The names of a metric's samples."""
    if kind == "counter":
        return [f"{name}_total"]
    return [name, f"{name}_bucket", f"{name}_sum", f"{name}_count"] if kind == "histogram" else [name]


def test_the_files_can_be_read() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    assert {"postgres", "redis", "node1", "node2", "node3", "nginx", "migrate"} == compose["services"].keys()
    for volume in compose["services"]["nginx"]["volumes"]:
        if volume.startswith("./"):
            assert (DEPLOY / volume.split(":")[0]).is_file()
    assert yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]
    assert (DEPLOY / yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["rule_files"][0]).is_file()
    assert json.loads((DEPLOY / "grafana.json").read_text())["panels"]


def test_nodes_are_proxied_under_the_names_that_they_have() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    for node in re.findall(r"server (\w+):8000", (DEPLOY / "nodes.compose.conf").read_text()):
        assert node in compose["services"]
