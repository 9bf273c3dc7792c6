"""``python -m benchmarks.rtc [--quick] [--only forwards,latency,people] [--write]``: media servers beside each other.

One process is the server, pinned to one core; this one is all the participants, on the other core. They are aiortc's
peer connections up to the end of DTLS; then packets of 1,100 bytes are encrypted and sent by hand, and what comes back
is counted and thrown away unread, so that the load stays below the server. aiortc's ``MediaRelay`` decodes what it
gets, so it is sent a real VP8 picture of 640x360, 30 times a second at 1.5 Mbit/s.

Added latency is what comes through the server less what comes when the publisher sends every copy itself, straight to
the same sockets of the same process, measured in the same minute.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import struct
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from statistics import median, quantiles
from typing import Any

import uvloop
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.codecs.vpx import Vp8Encoder
from av import VideoFrame

from benchmarks import machine
from benchmarks.results import RESULTS, write_section
from benchmarks.servers import LOAD_CORE, SERVER_CORE
from mana_rtc.media.sdp import TRANSPORT_CC_URI

PAYLOAD = 1100
SERVERS = ("aiortc", "ours-libsrtp", "ours")
NAMES = {
    "relay": "aiortc, MediaRelay",
    "aiortc": "aiortc's bare transports",
    "ours-libsrtp": "mana_rtc, libsrtp",
    "ours": "mana_rtc, accelerated",
}
#: Frames per second of the picture for ``MediaRelay``, and how many there are before it begins anew.
FRAME_RATE, FRAMES = 30, 60
Row = tuple[str, str, str, str]


class Server:
    """A server process and its lines."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.process: Process | None = None
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.on_offer: Callable[[dict[str, Any]], Awaitable[None]] | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Server:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.rtc_servers", self.kind, stdin=PIPE, stdout=PIPE, limit=2**22
        )
        if SERVER_CORE is not None:
            os.sched_setaffinity(self.process.pid, {SERVER_CORE})
        self._tasks.append(asyncio.create_task(self._read()))
        assert (await self._answers.get())["ready"]
        return self

    async def __aexit__(self, *exception: object) -> None:
        assert self.process is not None
        for task in self._tasks:
            task.cancel()
        self.process.kill()
        await self.process.wait()

    async def _read(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            message = json.loads(line)
            if "offer" in message:
                assert self.on_offer is not None
                self._tasks.append(asyncio.create_task(self.on_offer(message)))  # type: ignore[arg-type]
            else:
                self._answers.put_nowait(message)

    def tell(self, do: str, **fields: Any) -> None:
        """A line that nothing answers."""
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **fields}).encode() + b"\n")

    async def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        """A line and its answer."""
        self.tell(do, **fields)
        return await self._answers.get()


class Participant:
    """Publishes one stream and counts what comes."""

    def __init__(self, name: str, home: Call) -> None:
        self.name = name
        self.home = home
        self.publishing: RTCPeerConnection | None = None
        self.receiving = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.received = 0
        #: The address family of the socket that it sends with, once it does.
        self.family = 0
        self._sequence = 0
        self._send: Any = None

    async def publish(self) -> None:
        """Offers a video track and connects."""
        from benchmarks.rtc_servers import Silence

        peer = self.publishing = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        sender = peer.addTrack(Silence())
        await peer.setLocalDescription(await peer.createOffer())
        answer = await self.home.server.ask("publish", id=self.name, sdp=peer.localDescription.sdp)
        await peer.setRemoteDescription(RTCSessionDescription(answer["answer"], "answer"))
        transport = sender.transport
        while transport.state != "connected":
            await asyncio.sleep(0.01)
        connection = transport.transport._connection
        ssrc, protect = sender._ssrc, transport._tx_srtp.protect
        codec = next(c for c in peer.getTransceivers()[0]._codecs if c.name == "VP8")
        pair = connection._nominated[1]
        address, raw = pair.remote_addr, pair.protocol.transport

        def send(stamp: int, payload: bytes, marker: bool, to: Sequence[Any]) -> None:
            self._sequence = (self._sequence + 1) & 0xFFFF
            second = codec.payloadType | 0x80 if marker else codec.payloadType
            header = struct.pack("!BBHII", 0x80, second, self._sequence, stamp & 0xFFFFFFFF, ssrc)
            data = protect(header + payload)
            for one in to or (address,):
                raw.sendto(data, one)

        self._send = send
        self.family = raw.get_extra_info("socket").family

    def send(self, stamp: int, to: Sequence[Any] = ()) -> None:
        """One packet, with a number for its timestamp: to the server, or to these addresses instead."""
        # VP8: the beginning of a keyframe, so that everybody may begin anywhere.
        self._send(stamp, b"\x10\0" + bytes(PAYLOAD - 2), True, to)

    def send_frame(self, number: int, payloads: Sequence[bytes]) -> None:
        """The packets of a picture."""
        for payload in payloads:
            self._send(number * 90_000 // FRAME_RATE, payload, payload is payloads[-1], ())

    def address(self, family: int) -> Any:
        """A socket that it receives with."""
        for protocol in self.receiving.getReceivers()[0].transport.transport._connection._protocols:
            if protocol.transport.get_extra_info("socket").family == family:
                return protocol.transport.get_extra_info("sockname")[:2]
        raise LookupError(family)

    async def answer(self, message: dict[str, Any]) -> None:
        """Takes an offer and receives."""
        peer = self.receiving
        await peer.setRemoteDescription(RTCSessionDescription(message["offer"], "offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        sdp = peer.localDescription.sdp
        if self.home.server.kind not in ("aiortc", "relay"):
            # As a browser would: the server then numbers every packet for its bandwidth estimation.
            sdp = "".join(
                line + (f"a=extmap:3 {TRANSPORT_CC_URI}\r\n" if line.startswith("a=mid:") else "")
                for line in sdp.splitlines(keepends=True)
                if not line.startswith("a=extmap:3 ")
            )
        self.home.server.tell("answer", id=self.name, sdp=sdp, number=message["number"])
        for receiver in peer.getReceivers():
            for protocol in receiver.transport.transport._connection._protocols:
                self._listen(protocol)

    def _listen(self, protocol: Any) -> None:
        if "datagram_received" in vars(protocol):
            return
        original, arrivals, clock = protocol.datagram_received, self.home.arrivals, time.monotonic

        def received(data: bytes, address: Any) -> None:
            if data and 127 < data[0] < 192:
                if not 192 <= data[1] <= 223:
                    self.received += 1
                    if self.home.sampling:
                        arrivals.append((int.from_bytes(data[4:8]), clock()))
                    return
                return
            original(data, address)

        protocol.datagram_received = received


class Call:
    """A server and its participants."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.people: dict[str, Participant] = {}
        self.arrivals: list[tuple[int, float]] = []
        self.sampling = False
        self.sent: list[float] = []
        server.on_offer = self._offered

    async def _offered(self, message: dict[str, Any]) -> None:
        await self.people[message["id"]].answer(message)

    async def gather(self, publishers: int, total: int) -> None:
        """Everybody joins; the first ones publish; the others receive, or all if all publish."""
        for number in range(total):
            name = f"p{number}"
            self.people[name] = Participant(name, self)
            self.server.tell("join", id=name)
        people = list(self.people.values())
        for one in people[:publishers]:
            await one.publish()
        receivers = people if publishers == total else people[publishers:]
        for one in receivers:
            self.server.tell("ready", id=one.name)
        async with asyncio.timeout(60):
            while not all(
                one.receiving.connectionState == "connected" and one.receiving.getReceivers() for one in receivers
            ):
                await asyncio.sleep(0.05)
        await asyncio.sleep(1)

    async def run(self, publishers: int, per_second: float, seconds: float) -> dict[str, Any]:
        """Sends at a rate; the server's use of its core meanwhile."""
        people = list(self.people.values())[:publishers]
        await self._send(people, per_second, 1.0)  # the first keyframes, and warm caches
        await asyncio.sleep(0.3)
        for one in self.people.values():
            one.received = 0
        gc.disable()
        before = await self.server.ask("usage")
        started = time.monotonic()
        sent = await self._send(people, per_second, seconds)
        elapsed = time.monotonic() - started
        after = await self.server.ask("usage")
        await asyncio.sleep(0.5)
        gc.enable()
        return {
            "cpu": after["cpu"] - before["cpu"],
            "forwards": after["forwards"] - before["forwards"],
            "dropped": after["dropped"] - before["dropped"],
            "received": sum(one.received for one in self.people.values()),
            "sent": sent,
            "seconds": elapsed,
        }

    async def watch(self, pictures: list[list[bytes]], seconds: float) -> dict[str, Any]:
        """The first sends real pictures; the server's use of its core meanwhile."""
        publisher = next(iter(self.people.values()))
        await self._show(publisher, pictures, 0, FRAMES)  # decoders and encoders begin
        before = await self.server.ask("usage")
        await self._show(publisher, pictures, FRAMES, int(seconds * FRAME_RATE))
        after = await self.server.ask("usage")
        return {name: after[name] - before[name] for name in ("cpu", "forwards")}

    async def _show(self, publisher: Participant, pictures: list[list[bytes]], first: int, count: int) -> None:
        started = time.monotonic()
        for number in range(count):
            await asyncio.sleep(max(0.0, started + number / FRAME_RATE - time.monotonic()))
            publisher.send_frame(first + number, pictures[(first + number) % len(pictures)])

    async def direct(self, per_second: float, seconds: float) -> list[float]:
        """Milliseconds from send to receive where the first sends every copy itself, past the server."""
        publisher, *others = self.people.values()
        self.arrivals.clear()
        assert publisher.family
        await self._send([publisher], per_second, seconds, [one.address(publisher.family) for one in others])
        await asyncio.sleep(0.2)
        found = self.latencies()
        self.arrivals.clear()
        return found

    async def _send(self, people: list[Participant], per_second: float, seconds: float, to: Sequence[Any] = ()) -> int:
        """Each sends ``per_second`` packets, in turn, a few every two milliseconds."""
        self.sent.clear()
        started = time.monotonic()
        done = 0
        total = int(per_second * len(people) * seconds)
        while done < total:
            due = min(total, int((time.monotonic() - started) * per_second * len(people)) + 1)
            while done < due:
                self.sent.append(time.monotonic())
                people[done % len(people)].send(done, to)
                done += 1
            await asyncio.sleep(0.002)
        return done

    def latencies(self) -> list[float]:
        """Milliseconds from send to receive, of every packet that came."""
        return [(moment - self.sent[stamp]) * 1000 for stamp, moment in self.arrivals if stamp < len(self.sent)]

    async def close(self) -> None:
        """Ends everybody."""
        for one in self.people.values():
            for peer in (one.publishing, one.receiving):
                if peer is not None:
                    await peer.close()


async def measure(kind: str, publishers: int, total: int, per_second: float, seconds: float, *, sample: bool) -> Any:
    """One round on a fresh server."""
    async with Server(kind) as server:
        call = Call(server)
        await call.gather(publishers, total)
        call.sampling = sample
        try:
            straight = await call.direct(per_second, seconds) if sample and publishers == 1 else []
            call.arrivals.clear()
            result = await call.run(publishers, per_second, seconds)
            result["direct"] = straight
            result["latencies"] = call.latencies() if sample else []
            return result
        finally:
            await call.close()


async def relayed(pictures: list[list[bytes]], seconds: float) -> float:
    """Packets per second of processor that aiortc's ``MediaRelay`` sends to twenty."""
    async with Server("relay") as server:
        call = Call(server)
        await call.gather(1, 21)
        try:
            result = await call.watch(pictures, seconds)
            return float(result["forwards"] / result["cpu"])
        finally:
            await call.close()


def picture() -> list[list[bytes]]:
    """The packets of every frame of a moving picture in VP8 that begins with a keyframe."""
    encoder = Vp8Encoder()
    encoder.target_bitrate = 1_500_000
    frames = []
    for number in range(FRAMES):
        frame = VideoFrame(640, 360, "yuv420p")
        for plane, name in zip(frame.planes, "yuv", strict=True):
            # Diagonal stripes that move, in another direction for each plane.
            step = {"y": 3, "u": -2, "v": 1}[name] * number
            row = bytes((column * 2 + step) & 0xFF for column in range(plane.line_size + 256))
            plane.update(b"".join(row[line & 0xFF :][: plane.line_size] for line in range(plane.height)))
        frame.pts, frame.time_base = number * 90_000 // FRAME_RATE, Fraction(1, 90_000)
        frames.append(encoder.encode(frame, force_keyframe=number == 0)[0])
    return frames


async def forwards(rounds: int, seconds: float) -> list[Row]:
    """Packets forwarded per second of the server's processor: one publisher, twenty others."""
    pictures = picture()
    found: dict[str, list[float]] = {kind: [] for kind in ("relay", *SERVERS)}
    for number in range(rounds):
        found["relay"].append(await relayed(pictures, seconds))
        print(f"  forwards {number + 1}: relay {found['relay'][-1]:,.0f}/CPU s", flush=True)
        for kind in SERVERS:
            # A rate that none of them is too slow for; what counts is what a packet costs.
            rate = 400 if kind == "aiortc" else 1500
            result = await measure(kind, 1, 21, rate, seconds, sample=False)
            found[kind].append(result["forwards"] / result["cpu"])
            lost = 1 - result["received"] / result["forwards"]
            print(f"  forwards {number + 1}: {kind} {found[kind][-1]:,.0f}/CPU s, {lost:.2%} lost", flush=True)
    stock, bare = median(found["relay"]), median(found["aiortc"])
    goals = {"ours-libsrtp": ">= 40,000, >= 3x stock aiortc", "ours": ">= 60,000"}
    rows: list[Row] = [("forwards per core-second, 640x360 VP8", NAMES["relay"], f"{stock:,.0f}", "")]
    for kind in SERVERS:
        rate = median(found[kind])
        times = f" ({rate / stock:.0f}x MediaRelay, {rate / bare:.1f}x bare)"
        rows.append(("forwards per core-second, 1,100 bytes", NAMES[kind], f"{rate:,.0f}{times}", goals.get(kind, "")))
    return rows


async def latency(rounds: int, seconds: float) -> list[Row]:
    """From send to receive at 3,000 forwards a second: 150 packets a second to twenty others (see above)."""
    rows = []
    for kind in SERVERS:
        through: list[float] = []
        straight: list[float] = []
        for _ in range(rounds):
            result = await measure(kind, 1, 21, 150, seconds, sample=True)
            through += result["latencies"]
            straight += result["direct"]
        cuts, least = quantiles(through, n=100), quantiles(straight, n=100)
        rows.append(
            (
                "added latency at 3,000 forwards/s",
                NAMES[kind],
                f"p50 {cuts[49] - least[49]:.2f} ms ({cuts[49]:.2f} - {least[49]:.2f}), "
                f"p99 {cuts[98] - least[98]:.2f} ms ({cuts[98]:.2f} - {least[98]:.2f})",
                "" if kind == "aiortc" else "p50 <= 0.5 ms, p99 <= 5 ms",
            )
        )
        print(f"  latency: {kind} {rows[-1][2]}", flush=True)
    return rows


async def people(rounds: int, seconds: float) -> list[Row]:
    """Thirteen participants of 1.5 Mbit/s each, all of whom receive all others."""
    rows = []
    for kind in SERVERS[1:]:
        result = await measure(kind, 13, 13, 1_500_000 / 8 / PAYLOAD, seconds, sample=True)
        cuts = quantiles(result["latencies"], n=100)
        expected = result["sent"] * 12
        rows.append(
            (
                f"13 participants, 1.5 Mbit/s each: {expected / result['seconds']:,.0f} forwards/s",
                NAMES[kind],
                f"p99 {cuts[98]:.1f} ms, {1 - result['received'] / expected:.3%} lost, "
                f"core {result['cpu'] / result['seconds']:.0%} busy",
                "no drop, p99 <= 20 ms",
            )
        )
        print(f"  people: {kind} {rows[-1][2]}", flush=True)
    return rows


SCENARIOS = {"forwards": forwards, "latency": latency, "people": people}


def table(rows: list[Row]) -> str:
    """The rows in Markdown."""
    lines: list[Row] = [("what", "server", "result", "goal"), *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    printed = ["| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in lines]
    return "\n".join([printed[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *printed[1:]])


def main() -> None:
    """Measures what was asked for and prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rtc", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round of everything")
    parser.add_argument("--only", default=",".join(SCENARIOS), help="comma-separated scenarios")
    parser.add_argument("--write", action="store_true", help=f"write the section of {RESULTS.name}")
    options = parser.parse_args()
    rounds, seconds = (1, 3.0) if options.quick else (3, 8.0)
    if LOAD_CORE is not None:
        os.sched_setaffinity(0, {LOAD_CORE})
    lines = [
        f"Machine: {machine.machine()}; {machine.busy()} at the start",
        f"Versions: {machine.versions()}, {machine.media_versions()}",
        f"Command: `{' '.join(['python -m benchmarks.rtc', *sys.argv[1:]])}`",
    ]
    print("\n".join(lines), flush=True)
    rows: list[Row] = []
    for name in options.only.split(","):
        rows += uvloop.run(SCENARIOS[name](rounds, seconds))
    lines.append(f"Date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {machine.busy()} at the end")
    text = f"## Media\n\n{chr(10).join(f'- {line}' for line in lines)}\n\n{table(rows)}\n"
    print(f"\n{text}")
    if options.write:
        write_section("## Media", text)


if __name__ == "__main__":
    main()
