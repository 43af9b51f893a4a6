"""What is recorded of the machine and the libraries beside a result, and not keyed."""

from __future__ import annotations

import os
import platform
from functools import cache
from typing import TYPE_CHECKING, Any

from ablate._version import __version__
from ablate.core.trial import Trial
from ablate.util.devices import cpu_name

if TYPE_CHECKING:
    import torch


def environment(
    device: torch.device, trial: Trial, *, shared: bool, profiled: bool = False
) -> dict[str, Any]:
    """What is recorded with a result and not keyed."""
    import torch
    import torchvision

    cuda = device.type == "cuda"
    return {
        "ablate": __version__,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        **machine(),
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if cuda else cpu_name(),
        "cuda": torch.version.cuda if cuda else None,
        "numerics": trial.numerics.model_dump(mode="json"),
        "shared_device": shared,
        "profiled": profiled,
        "tricks": {spec.name: spec.source for spec in trial.tricks},
    }


@cache
def machine() -> dict[str, Any]:
    """What is recorded of the machine, the same for every trial of a process."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": platform.node(),
        "cores": os.cpu_count(),
    }
