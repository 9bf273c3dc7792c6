"""What the numbers were measured on and with."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("django", "channels", "daphne", "twisted", "autobahn", "uvicorn", "uvloop", "websockets", "msgspec")


def machine() -> str:
    """Processor, cores, memory and kernel in one line."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.release()}"


def versions() -> str:
    """Python and the packages that the numbers depend on."""
    found = [f"{platform.python_implementation()} {platform.python_version()}"]
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def media_versions() -> str:
    """The packages that media depends on."""
    return ", ".join(f"{package} {version(package)}" for package in ("aiortc", "pylibsrtp", "cryptography"))


def busy() -> str:
    """How much else the machine is doing, which is what makes numbers differ from run to run."""
    return f"load average {os.getloadavg()[0]:.1f}"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
