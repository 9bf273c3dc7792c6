"""A reconnect storm: all nodes die at once, and everybody who was connected comes back to them at once."""

from __future__ import annotations

import asyncio
import resource
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from tests.faults import audit, history, measures
from tests.faults.clients import PersistentClient
from tests.faults.community import CATCH_UP, Site, say_goodbye, talk
from tests.faults.crowd import Crowd
from tests.faults.processes import scripts
from tests.support.client import Account

#: Accounts of the crowd, each with several devices. More than PRESENCE_MAX_ROOM and RECEIPTS_MAX_ROOM.
ACCOUNTS = 250
TALKERS = 3
#: Seconds between two messages of a talker: each goes to the whole crowd.
PAUSE = 0.5
#: Acks of each talker before the storm and after it.
ACKS = 4
#: Seconds in which everybody must be in, the first time and after the storm.
ALL_IN = 240.0


@dataclass
class Storm:
    """What a storm was."""

    size: int
    #: Seconds from the moment in which the nodes listen again until everybody is in and has synced.
    seconds: float = 0.0
    #: Connections that were cut off or kept out meanwhile.
    falls: int = 0
    sent: int = 0
    acked: int = 0
    delivered: int = 0
    lost: int = 0
    doubled: int = 0
    memory: list[tuple[int, int]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


async def storm(site: Site, size: int) -> Storm:
    """Has ``size`` clients connected, kills all nodes, starts them again, and waits until nobody misses anything."""
    allow_descriptors(2 * size)
    report = Storm(size)
    accounts = [Account(site.nodes[0]) for _ in range(ACCOUNTS)]
    room = accounts[0].room(*accounts[1:])
    urls = [node.ws for node in site.nodes]
    async with AsyncExitStack() as stack:
        talkers = [PersistentClient(one, [room], arrays=True, urls=urls) for one in accounts[:TALKERS]]
        for client in talkers:
            stack.push_async_callback(client.stop)
        crowd = Crowd(accounts, size, urls)
        stack.push_async_callback(crowd.stop)
        await crowd.until_all_are_in(ALL_IN)
        talking = [asyncio.create_task(talk(client, PAUSE)) for client in talkers]
        await asyncio.gather(*(client.until_acked(ACKS) for client in talkers))
        before, fell = [measures.memory(node) for node in site.nodes], crowd.falls
        for node in site.nodes:
            node.kill()
        await asyncio.gather(*(asyncio.to_thread(node.start) for node in site.nodes))
        begun = time.monotonic()
        await crowd.until_all_are_in(ALL_IN)
        report.seconds, report.falls = time.monotonic() - begun, crowd.falls - fell
        await asyncio.gather(*(client.until_acked(ACKS) for client in talkers))
        for task in talking:
            task.cancel()
        await asyncio.gather(*talking, return_exceptions=True)
        async with asyncio.timeout(CATCH_UP):
            for client in talkers:
                await client.until(lambda client=client: client.is_all_acked)
            last = say_goodbye(accounts[0], talkers[0].history, room)
            for client in talkers:
                await client.until_at(last)
        await crowd.until_all_are_at(last, CATCH_UP)
        report.memory = [(then, measures.memory(node)) for then, node in zip(before, site.nodes, strict=True)]
        for node in site.nodes:
            if held := await measures.what_stays(node):
                report.problems.append(f"{held} waits in a node with nobody to wait for it")
    for one in accounts:
        one.http.close()
    with scripts(site.url) as process:
        report.problems += process.run(audit.problems)
        stored = process.run(audit.events, room)
    histories = [client.history for client in talkers]
    report.problems += history.problems(histories, stored)
    report.lost, report.doubled = history.tally(histories, stored)
    report.sent = sum(len(one.sent) for one in histories)
    report.acked = sum(len(one.acked) for one in histories)
    everything = [event["sequence"] for event in stored if event["kind"] == "message"]
    for face in crowd.faces:
        report.delivered += len(face.taken)
        if face.taken != everything:
            report.lost += len(set(everything) - set(face.taken))
            report.doubled += len(face.taken) - len(set(face.taken))
            report.problems.append(f"one of the crowd took up {face.taken} of {everything}")
    return report


def allow_descriptors(count: int) -> None:
    """Has this process, and nodes that it starts from here on, open so many sockets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 1024
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard) if hard >= 0 else wanted, hard))
