"""What a trial could leave behind in its process; a warm worker that sees a difference leaves."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from typing import Any

import numpy as np
import torch

# What torch's compiler sets when it first compiles.
_COMPILERS = ("TORCHINDUCTOR_", "_TORCHINDUCTOR_", "TRITON_", "KMP_DUPLICATE_LIB_OK")


def _compilers(thread: threading.Thread) -> bool:
    """Whether it may be of the pool that torch's compiler keeps; only where that was imported."""
    compiler = "torch._inductor.async_compile" in sys.modules
    return compiler and thread.name.startswith(("ThreadPoolExecutor-", "triton_compile_"))


class Sentinel:
    """Compares the process's global state with how it was."""

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)
        self._before = self._state()

    def differences(self) -> list[str]:
        """Names of what is not as it was."""
        now = self._state()
        return [name for name, value in self._before.items() if now[name] != value]

    def _state(self) -> dict[str, Any]:
        cuda = self._device.type == "cuda"
        return {
            "default dtype": torch.get_default_dtype(),
            "default device": str(torch.get_default_device()),
            "matmul precision": torch.get_float32_matmul_precision(),
            "grad mode": torch.is_grad_enabled(),
            "autocast": torch.is_autocast_enabled(self._device.type),
            "anomaly mode": torch.is_anomaly_enabled(),
            "python generator": hash(random.getstate()),
            "numpy generator": hash(str(np.random.get_state())),
            "working directory": os.getcwd(),
            "environment": {k: v for k, v in os.environ.items() if not k.startswith(_COMPILERS)},
            "threads": {t.name for t in threading.enumerate() if not (t.daemon or _compilers(t))},
            "signal handlers": [str(signal.getsignal(s)) for s in (2, 15)],
            "functions": (
                torch.nn.functional.cross_entropy,
                torch.nn.Module.__call__,
                torch.conv2d,
            ),
            # Caches of the allocator and of cuDNN grow in honest trials too; a leak is larger.
            "device memory": self._allocated() >> 28 if cuda else 0,
        }

    def _allocated(self) -> int:
        """Bytes on the device, but for the images that a next trial will want."""
        from ablate.data.store import kept_bytes

        return torch.cuda.memory_allocated(self._device) - kept_bytes()
