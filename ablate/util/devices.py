"""Devices to train on: the GPUs of this machine, else its processor, and what a compiler lacks."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ablate.errors import AblateError
from ablate.util import resources


def choose_devices(name: str = "auto") -> list[Device]:
    """The devices that `--device` names: "auto", "cpu", "cuda" (all GPUs) or "cuda:1".

    torch is imported only where there is a sign of a GPU: it takes seconds.
    """
    if name == "cpu" or (name == "auto" and not sign_of_gpu()):
        return [Device("cpu", slots=_cores(), threads=1)]
    kind, _, number = name.partition(":")
    if (kind not in ("auto", "cuda")) or (number and not number.isdecimal()):
        raise AblateError(f"--device '{name}': unknown device", hint="auto, cpu, cuda, cuda:0")
    count = _gpu_count()
    if number and count and int(number) >= count:
        known = ", ".join(f"cuda:{i}" for i in range(count))
        raise AblateError(f"--device {name}: this machine has {known}")
    if count == 0:
        if name == "auto":
            return [Device("cpu", slots=_cores(), threads=1)]
        raise AblateError(
            f"--device {name}: torch finds no GPU here",
            hint="--device cpu · ablate doctor says what is there",
        )
    numbers = [int(number)] if number else range(count)
    return [Device(f"cuda:{i}", slots=1) for i in numbers]


def device_type(devices: Sequence[Device]) -> str:
    """ "cpu" or "cuda"."""
    return devices[0].name.partition(":")[0]


def slots(devices: Sequence[Device]) -> int:
    """How many trials run at once."""
    return sum(device.slots for device in devices)


def device_names(devices: Sequence[Device]) -> list[str]:
    """Names of the devices, as trials record theirs."""
    if device_type(devices) == "cpu":
        return [cpu_name()]
    import torch

    return [torch.cuda.get_device_name(device.name) for device in devices]


def describe(devices: Sequence[Device]) -> str:
    """ "2 CPU cores", "1 × NVIDIA RTX 4090"."""
    if device_type(devices) == "cpu":
        cores = slots(devices)
        return f"{cores} CPU core{'s' * (cores != 1)}"
    names = device_names(devices)
    return ", ".join(f"{names.count(name)} × {name}" for name in dict.fromkeys(names))


def _cores() -> int:
    """Cores to train on: more than a container's share would only slow each other down."""
    cores, quota = resources.cores(), resources.cpu_quota()
    return cores if quota is None else max(1, min(cores, int(quota)))


def sign_of_gpu() -> bool:
    """Whether there may be a GPU of NVIDIA's, as far as can be said without torch."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    return Path("/proc/driver/nvidia").exists() or shutil.which("nvidia-smi") is not None


def _gpu_count() -> int:
    import torch

    return torch.cuda.device_count()


def compiler_lacks(kind: str) -> tuple[str, ...]:
    """What torch.compile needs on "cpu" or "cuda" and does not find, each as one installs it.

    It looks for what is most often missing, and does not try to compile.
    """
    lacking = []
    if kind == "cuda" and importlib.util.find_spec("triton") is None:
        lacking.append("triton")
    if kind == "cuda":  # Triton builds its launchers with it
        names: tuple[str, ...] = ("gcc", "clang", "cc")
        chosen, what = os.environ.get("CC"), "a C compiler"
    else:
        names = {"darwin": ("clang++",), "win32": ("cl",)}.get(sys.platform, ("g++",))
        chosen, what = os.environ.get("CXX"), "a C++ compiler"
    names = (chosen,) if chosen else names
    if not any(shutil.which(name) for name in names):
        lacking.append(f"{what} ({names[0]})")
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        lacking.append("Python's headers (python3-dev)")
    return tuple(lacking)


@dataclass(frozen=True)
class Device:
    """Where trials run: "cpu" or "cuda:0", how many at once, threads each.

    forks: a child of a server for each trial, on a CPU and where the system can; else one warm
    worker that trains one trial after another.
    """

    name: str
    slots: int
    threads: int = 1
    forks: bool = True


@cache
def cpu_name() -> str:
    """The processor's model name."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:  # not Linux
        pass
    return platform.processor() or platform.machine()
