"""What limits this machine: its cores, memory and disks, as a container sees them. No torch."""

from __future__ import annotations

import contextlib
import mmap
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

_SYSTEM = Path("/")
_PIECE = 1 << 20
_PIECES = 16
_UNLIMITED = 1 << 60  # bytes; what cgroups of version 1 say where no limit is


@dataclass(frozen=True)
class Memory:
    """Bytes in all and free for us, page cache included; limited: by a container."""

    total: int
    free: int
    limited: bool


@dataclass(frozen=True)
class Disk:
    """Bytes per second written (and synchronised) and read through a mapping, None where what is
    in memory cannot be told from what is on the disk. sync: seconds to make one line safe."""

    write: float
    read: float | None
    sync: float


def cores() -> int:
    """Cores that this process may run on; a container's share of time is not counted."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def cpu_quota(root: Path = _SYSTEM) -> float | None:
    """How many cores' worth of time the container may use; None where it is not limited."""
    quotas = []
    for folder in _groups(root, ""):
        with contextlib.suppress(OSError, ValueError):
            limit, period = (folder / "cpu.max").read_text("ascii").split()
            if limit != "max":
                quotas.append(int(limit) / int(period))
    for folder in _groups(root, "cpu"):
        with contextlib.suppress(OSError, ValueError):
            limit = (folder / "cpu.cfs_quota_us").read_text("ascii")
            if int(limit) > 0:
                quotas.append(int(limit) / int((folder / "cpu.cfs_period_us").read_text("ascii")))
    return min(quotas, default=None)


def memory(root: Path = _SYSTEM) -> Memory | None:
    """The machine's memory or, if smaller, the container's; None where that is not known."""
    try:
        lines = (root / "proc/meminfo").read_text("ascii").splitlines()
        table = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        found = Memory(table["MemTotal"], table["MemAvailable"], limited=False)
    except (OSError, ValueError, KeyError, IndexError):  # not Linux
        return None
    for controller, most, used, cached in (
        ("", "memory.max", "memory.current", "inactive_file"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        for folder in _groups(root, controller):
            with contextlib.suppress(OSError, ValueError):  # "max", or no such file
                limit = int((folder / most).read_text("ascii"))
                if limit >= min(found.total, _UNLIMITED):
                    continue
                taken = int((folder / used).read_text("ascii"))
                words = (folder / "memory.stat").read_text("ascii").split()
                # The kernel gives back what it keeps of files when somebody needs the room.
                taken -= int(dict(zip(words[::2], words[1::2], strict=True)).get(cached, 0))
                found = Memory(limit, max(0, min(found.free, limit - taken)), limited=True)
    return found


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """This process's control group and those above it; controller: "" for version 2."""
    try:
        lines = (root / "proc/self/cgroup").read_text("utf-8").splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controller not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / controller
        group = top / path.lstrip("/")
        while group != top and top in group.parents:
            yield group
            group = group.parent
        yield top


def disk(folder: Path) -> Disk | None:
    """How fast the disk of an existing folder is, from 16 MiB; None where nothing can be written.

    Everything is removed again.
    """
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            piece = os.urandom(_PIECE)  # a disk that compresses gets nothing for nothing
            began = time.perf_counter()
            for _ in range(_PIECES):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
            write = _PIECES * _PIECE / (time.perf_counter() - began)
            read = _read(file.fileno())
            file.seek(0, os.SEEK_END)
            syncs = []
            for _ in range(3):
                began = time.perf_counter()
                file.write(b"a line\n")
                file.flush()
                os.fsync(file.fileno())
                syncs.append(time.perf_counter() - began)
        return Disk(write, read, median(syncs))
    except OSError:
        return None


def _read(descriptor: int) -> float | None:
    forget = getattr(os, "posix_fadvise", None)  # not on macOS
    if forget is None:
        return None
    forget(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    began = time.perf_counter()
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as mapped:
        for start in range(0, len(mapped), _PIECE):
            mapped[start : start + _PIECE].count(0)
    return _PIECES * _PIECE / (time.perf_counter() - began)
