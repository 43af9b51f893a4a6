"""What a trial could leave behind in its process; a warm worker that sees a difference leaves."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodDescriptorType, WrapperDescriptorType
from typing import Any, Final

import numpy as np
import torch

# What torch's compiler sets when it first compiles.
_COMPILERS: Final = ("TORCHINDUCTOR_", "_TORCHINDUCTOR_", "TRITON_", "KMP_DUPLICATE_LIB_OK")
_CODE: Final = (*(FunctionType, BuiltinFunctionType, MethodDescriptorType, WrapperDescriptorType),)
# Where a trick that changes what everybody calls would do so.
_CALLED: Final = (torch.nn.functional, torch.nn.Module, torch.Tensor, torch.optim.Optimizer)
# Processes that libraries keep: torch's compilers, and who tidies up after multiprocessing.
_KEEPERS: Final = ("_inductor", "resource_tracker", "compile_worker")


def _compilers(thread: threading.Thread) -> bool:
    """Whether it may be of the pool that torch's compiler keeps; only where that was imported."""
    compiler = "torch._inductor.async_compile" in sys.modules
    return compiler and thread.name.startswith(("ThreadPoolExecutor-", "triton_compile_"))


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _children() -> set[int]:
    """Processes that this one has started, as far as the system tells; without `_KEEPERS`."""
    found = set()
    for path in Path("/proc/self/task").glob("*/children"):  # Linux
        try:
            for word in path.read_text("ascii").split():
                command = Path("/proc", word, "cmdline").read_bytes().decode("utf-8", "replace")
                if command and not any(keeper in command for keeper in _KEEPERS):
                    found.add(int(word))
        except OSError:  # ended meanwhile
            continue
    return found


class Sentinel:
    """Compares the process's global state with how it was."""

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)
        self._before = self._state()

    def differences(self) -> list[str]:
        """Names of what is not as it was."""
        now = self._state()
        # What was not there before, such as a function that is made when first used, replaces none.
        now["functions"] = {name: now["functions"].get(name) for name in self._before["functions"]}
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
            "file mode": _umask(),
            "child processes": _children(),
            "functions": {
                f"{owner.__name__}.{name}": value
                for owner in _CALLED
                for name, value in vars(owner).items()
                if isinstance(value, _CODE)
            },
            # Caches of the allocator and of cuDNN grow in honest trials too; a leak is larger.
            "device memory": self._allocated() >> 28 if cuda else 0,
        }

    def _allocated(self) -> int:
        """Bytes on the device, but for the images that a next trial will want."""
        from ablate.data.store import kept_bytes

        return torch.cuda.memory_allocated(self._device) - kept_bytes()
