"""Where trials run: the GPUs of this machine, else its processor."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from ablate import limits
from ablate.errors import AblateError
from ablate.executor import Device


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
        from ablate.surroundings import cpu_name

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
    cores, quota = limits.cores(), limits.cpu_quota()
    return cores if quota is None else max(1, min(cores, int(quota)))


def sign_of_gpu() -> bool:
    """Whether there may be a GPU of NVIDIA's, as far as can be said without torch."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    return Path("/proc/driver/nvidia").exists() or shutil.which("nvidia-smi") is not None


def _gpu_count() -> int:
    import torch

    return torch.cuda.device_count()
