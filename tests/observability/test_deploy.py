"""The files of ``docs/deploy``: what can be run is run, and what is named exists."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from demo_project import environment
from mana.conf import Settings, settings
from mana.observability.metrics import ManaCollector
from tests.support import databases
from tests.support.instances import instance
from tests.support.server import free_port
from tests.support.services import require

DEPLOY = Path(__file__).resolve().parent.parent.parent / "docs" / "deploy"


@pytest.mark.slow
def test_a_node_behind_nginx_dies_and_no_message_is_lost() -> None:
    require("nginx")
    with databases.fresh("postgres") as url, instance("redis") as layer:
        done = subprocess.run(
            ["bash", str(DEPLOY / "three_nodes.sh")],
            env={
                **os.environ,
                "DATABASE_URL": url,
                "CHANNEL_LAYER_URL": layer.url,
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
    assert {"postgres", "redis", "node1", "node2", "node3", "nginx", "migrate", "prune"} == compose["services"].keys()
    for volume in compose["services"]["nginx"]["volumes"]:
        if volume.startswith("./"):
            assert (DEPLOY / volume.split(":")[0]).is_file()
    named = [volume for service in compose["services"].values() for volume in service.get("volumes", ())]
    assert {volume.split(":")[0] for volume in named if not volume.startswith("./")} == compose["volumes"].keys()
    assert yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]
    assert (DEPLOY / yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["rule_files"][0]).is_file()
    assert json.loads((DEPLOY / "grafana.json").read_text())["panels"]


def test_nginx_finds_the_containers_where_they_are_and_they_believe_nobody_else() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    address = {name: one["networks"]["default"]["ipv4_address"] for name, one in services.items() if "networks" in one}
    nodes = [name for name in address if name.startswith("node")]
    proxied = re.findall(r"server ([\d.]+):8000", (DEPLOY / "nodes.compose.conf").read_text())
    assert proxied == [address[name] for name in nodes]
    for name in nodes:
        environment = services[name]["environment"]
        assert environment["MANA_TRUSTED_PROXIES"] == f"{address['nginx']}/32"
        port = environment["MANA_RTC_PORT"]
        assert services[name]["ports"] == [f"{port}:{port}/udp", f"{port}:{port}/tcp"]
    assert len({services[name]["environment"]["MANA_RTC_PORT"] for name in nodes}) == len(nodes)


@pytest.mark.parametrize("nodes", ["nodes.conf", "nodes.compose.conf"])
def test_nginx_takes_the_configuration(nodes: str, tmp_path: Path) -> None:
    require("nginx")
    shutil.copy(DEPLOY / "nginx.conf", tmp_path)
    shutil.copy(DEPLOY / nodes, tmp_path / "nodes.conf")
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    command = [nginx, "-e", str(tmp_path / "error.log"), "-t", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 0, done.stderr


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    require("systemd-analyze")
    files = [*(DEPLOY / "systemd").glob("*.service"), *(DEPLOY / "systemd").glob("*.timer")]
    units = [tmp_path / file.name.replace("@", "@8001") for file in files]
    for file, unit in zip(files, units, strict=True):
        # What they start is where a site has it, and not here.
        unit.write_text(re.sub(r"/srv/mana/venv/bin/\w+", sys.executable, file.read_text()))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, units)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    # It says what it does not know, and ends with 0 all the same.
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_every_variable_that_is_set_is_one_that_is_read() -> None:
    """A setting that was given another name would silently be ignored."""
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    given = {name for key, one in services.items() if key != "postgres" for name in one.get("environment", {})}
    texts = [*(DEPLOY / "systemd").iterdir(), DEPLOY / "three_nodes.sh", DEPLOY / "Containerfile"]
    for file in texts:
        given |= set(re.findall(r"\bMANA_[A-Z_]+(?==)", file.read_text()))
    lines = (DEPLOY / "systemd" / "mana.env").read_text().splitlines()
    given |= {line.lstrip("#").partition("=")[0] for line in lines if re.match(r"#?[A-Z_]+=", line)}
    site = Path(environment.__file__)
    read = set(re.findall(r"\"([A-Z_]+)\"", (site.parent / "settings.py").read_text()))
    read |= {f"MANA_{setting.name}" for setting in Settings.declared()} | {"DJANGO_SETTINGS_MODULE"}
    assert given > {"SECRET_KEY", "MANA_RTC_PORT", "MANA_TRUSTED_PROXIES", "MEDIA_ROOT"}
    assert given <= read


def test_what_nginx_lets_through_is_what_may_be_uploaded() -> None:
    allowed = re.search(r"client_max_body_size (\d+)m;", (DEPLOY / "nginx.conf").read_text())
    assert allowed is not None
    assert int(allowed[1]) * 2**20 > settings.ATTACHMENT_MAX_SIZE
