"""Check what limits training on this machine; `Finding`, one line of `ablate doctor`.

A limit is no fault: `todo` is given only where something can be done about it here.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from ablate.cli.options import Options
from ablate.util import resources
from ablate.util.devices import choose_devices, compiler_lacks, sign_of_gpu, slots
from ablate.util.paths import decoded_root, shown


@dataclass(frozen=True)
class Finding:
    """fine: nothing to do; attention: something may be wanted; wrong: something must be done."""

    kind: Literal["fine", "attention", "wrong"]
    subject: str
    message: str
    todo: str = ""


_FEW_CORES: Final = 4
_SLOW_DISK: Final = 50e6  # bytes per second
_SLOW_SYNC: Final = 0.05  # seconds; there is one an epoch and more
_OTHERS: Final = 0.05  # of a GPU's memory
_OWN: Final = 1024  # MiB that this process may hold of it
_BUSY: Final = 5  # percent
_GIB: Final = 2**30


def gpus(options: Options) -> Iterator[Finding]:
    """No GPU, or one that is not ours alone."""
    try:
        import torch

        count = torch.cuda.device_count()
    except Exception:  # noqa: BLE001 - a broken installation raises anything, and is reported
        return
    if count == 0:
        if not sign_of_gpu():  # else the machine's line says what to do
            yield Finding(
                "attention", "gpu", "none: trials train on the processor, large models for hours"
            )
        return
    usage = _usage()
    for index in range(count):
        uuid = f"GPU-{getattr(torch.cuda.get_device_properties(index), 'uuid', '')}"
        if uuid not in usage:
            continue
        used, total, busy = usage[uuid]
        if used > _OTHERS * total + _OWN or busy > _BUSY:
            held = f"{used / 1024:.1f} of {total / 1024:.0f} GiB are in use"
            yield Finding(
                "attention", "gpu",
                f"cuda:{index} is shared: {held}, {busy:.0f}% busy; times mean little",
                "nvidia-smi shows by whom; --device cuda:N takes another" if count > 1 else "",
            )  # fmt: skip


def _usage() -> dict[str, tuple[float, float, float]]:
    """By GPU: MiB used, MiB in all, percent busy; nothing where nvidia-smi does not tell."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return {}
    wanted = "--query-gpu=uuid,memory.used,memory.total,utilization.gpu"
    try:
        done = subprocess.run(
            [program, wanted, "--format=csv,noheader,nounits"],
            capture_output=True, text=True, timeout=20, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return {}
    return parse_usage(done.stdout)


def parse_usage(text: str) -> dict[str, tuple[float, float, float]]:
    """What nvidia-smi printed. A GPU of which it does not know all ("[N/A]") is left out."""
    found = {}
    for line in text.splitlines():
        uuid, *cells = (cell.strip() for cell in line.split(","))
        with contextlib.suppress(ValueError):
            used, total, busy = map(float, cells)
            found[uuid] = used, total, busy
    return found


def compiling(options: Options) -> Iterator[Finding]:
    """What `numerics = "fast"` compiles models with."""
    kind = "cuda" if sign_of_gpu() else "cpu"
    lacking = compiler_lacks(kind)
    if not lacking:
        yield Finding("fine", "compiler", 'models compile with numerics = "fast"')
        return
    yield Finding(
        "attention", "compiler",
        f'numerics = "fast" does not compile models: without {", ".join(lacking)}',
        # On a processor `exact` is the default, which compiles nothing.
        f"install {', '.join(lacking)}" if kind == "cuda" else "",
    )  # fmt: skip


def processor(options: Options) -> Iterator[Finding]:
    """Cores, and what a container and other programs leave of them."""
    cores, quota = resources.cores(), resources.cpu_quota()
    text = f"{cores} core{'s' * (cores != 1)}"
    if quota is not None and quota < cores:
        text += f", of whose time this container gets {quota:.1f}"
    total = os.cpu_count() or cores
    if total > cores:
        text += f" of {total}"
    if not sign_of_gpu():
        at_once = slots(choose_devices("cpu"))
        text += f": {at_once} trial{'s' * (at_once != 1)} at a time, a thread each"
    few = min(cores, quota or cores) < _FEW_CORES
    yield Finding("attention" if few else "fine", "cores", text + (", which is few" if few else ""))
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > cores:
        yield Finding(
            "attention", "load", f"{load:.1f} programs want {cores} cores: times mean little"
        )


def memory(options: Options) -> Iterator[Finding]:
    """Whether the decoded images stay in memory."""
    found = resources.memory()
    if found is None:
        return
    whose = "of the container" if found.limited else ""
    text = f"{found.free / _GIB:.1f} of {found.total / _GIB:.1f} GiB {whose}".rstrip() + " free"
    name, size = largest_cache()
    if not size:
        yield Finding("fine", "memory", text)
    elif size > found.free:
        yield Finding(
            "attention", "memory",
            f"{text}, {name} takes {size / _GIB:.1f}: it is read from the disk in every epoch",
        )  # fmt: skip
    else:
        yield Finding("fine", "memory", f"{text}; {name} takes {size / _GIB:.1f}")


def largest_cache() -> tuple[str, int]:
    """(name, bytes) of the largest decoded data set; ("", 0) where there is none."""
    sizes = {
        folder.name: sum(file.stat().st_size for file in folder.glob("*.npy"))
        for folder in decoded_root().glob("*")
        if folder.is_dir()
    }
    name = max(sizes, key=lambda n: sizes[n], default="")
    # A folder is named after the data set, its edition, the decoder and the contents.
    return name.rsplit("-", 3)[0], sizes.get(name, 0)


def disks(options: Options) -> Iterator[Finding]:
    """How fast results are written and decoded images read."""
    places: dict[int, tuple[Path, list[str]]] = {}
    for path, use in ((options.store_path, "store"), (decoded_root(), "decoded images")):
        folder = _existing(path.absolute())
        places.setdefault(folder.stat().st_dev, (folder, []))[1].append(use)
    for folder, uses in places.values():
        speed = resources.disk(folder)
        named = f"{' and '.join(uses)} ({shown(folder)})"
        if speed is None:
            continue  # the store's own line says so, or `run` will
        text = f"{named}: writes {speed.write / 1e6:,.0f} MB/s"
        if speed.read is not None:
            text += f", reads {speed.read / 1e6:,.0f} MB/s"
        text += f", {1e3 * speed.sync:.1f} ms to make a line safe"
        slow = []
        if speed.write < _SLOW_DISK or speed.sync > _SLOW_SYNC:
            slow.append("checkpoints wait")
        if speed.read is not None and speed.read < _SLOW_DISK:
            slow.append("a first epoch does")
        if slow:
            text += f"; slow: {', '.join(slow)}; --store and ABLATE_CACHE may be elsewhere"
        yield Finding("attention" if slow else "fine", "disk", text)


def _existing(path: Path) -> Path:
    return next(p for p in (path, *path.parents) if p.is_dir())
