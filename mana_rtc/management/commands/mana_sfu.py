"""``manage.py mana_sfu``: a media worker. The nodes need ``MANA["RTC_BACKEND"] = "mana_rtc.backends.workers"``."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import re
import signal
from typing import Any

from channels.layers import get_channel_layer
from django.core.management.base import BaseCommand, CommandError, CommandParser

from mana.conf import settings
from mana.garbage import look_rarely
from mana.realtime.bus import connects_processes

logger = logging.getLogger("mana.rtc.workers")


class Command(BaseCommand):
    """Forwards the media of the calls that nodes place here, until SIGTERM, which moves them to other workers."""

    help = "Runs a media worker, which forwards audio and video for all nodes of the cluster."

    def add_arguments(self, parser: CommandParser) -> None:
        """What differs between the workers of one machine."""
        parser.add_argument("--port", type=int, help="UDP and TCP port of all media (MANA['RTC_PORT'])")
        parser.add_argument(
            "--address", action="append", help="IP address to listen at, more than once for several (RTC_ADDRESSES)"
        )
        parser.add_argument(
            "--announce", action="append", help="address that clients are told, as behind NAT (RTC_ANNOUNCED_ADDRESSES)"
        )
        parser.add_argument("--name", default="", help="what the admin calls it")
        parser.add_argument("--max-rooms", type=int, help="calls at a time (RTC_MAX_ROOMS)")
        parser.add_argument("--metrics", metavar="HOST:PORT", help="serves Prometheus' metrics of this worker there")

    def handle(self, *args: Any, **options: Any) -> None:
        """Runs until it is told to end."""
        try:
            from mana_rtc import backends
            from mana_rtc.sfu.embedded import new_loop
        except ImportError as error:
            raise CommandError(f'{error}: pip install "django-mana[rtc]"') from error
        if options["metrics"] and not re.fullmatch(r".*:\d{1,5}", options["metrics"]):
            raise CommandError("--metrics wants HOST:PORT.")
        layer = get_channel_layer(settings.CHANNEL_LAYER)
        if not connects_processes(layer):
            raise CommandError("Workers need a channel layer that connects processes, such as that over Redis.")
        config = backends.config()
        transport = config.transport
        if options["port"] is not None:
            transport = dataclasses.replace(transport, port=options["port"])
        if options["address"]:
            transport = dataclasses.replace(transport, addresses=tuple(options["address"]))
        if options["announce"]:
            transport = dataclasses.replace(transport, announced=tuple(options["announce"]))
        config = dataclasses.replace(config, transport=transport)
        if options["max_rooms"] is not None:
            config = dataclasses.replace(config, max_rooms=options["max_rooms"])
        with asyncio.Runner(loop_factory=new_loop) as runner:
            try:
                runner.run(self._run(config, layer, options))
            except OSError as error:
                raise CommandError(f"The worker could not be started: {error}") from error

    async def _run(self, config: Any, layer: Any, options: dict[str, Any]) -> None:
        from mana_rtc.workers.process import Worker

        look_rarely()
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ended.set)
        worker = Worker(config, layer, name=options["name"])
        await worker.start()
        if options["metrics"]:
            _serve_metrics(options["metrics"], worker.engine)
        self.stdout.write(f"Media worker {worker.id} on port {worker.engine.mux.port}.")
        self.stdout.flush()
        try:
            await ended.wait()
        finally:
            await worker.stop()
            if hasattr(layer, "close_pools"):
                await layer.close_pools()


def _serve_metrics(address: str, engine: Any) -> None:
    """Serves them in a thread. Raises ``OSError``."""
    from prometheus_client import REGISTRY, start_http_server

    from mana_rtc.media_metrics import WorkerCollector
    from mana_rtc.sfu.meter import Meter

    host, _, port = address.rpartition(":")
    REGISTRY.register(WorkerCollector(Meter(engine)))
    start_http_server(int(port), host.strip("[]") or "127.0.0.1")
