"""What a trial could leave behind in its process; a warm worker that sees a difference leaves."""

from __future__ import annotations

import builtins
import gc
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import (
    BuiltinFunctionType,
    FunctionType,
    MethodDescriptorType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any, Final

import numpy as np
import torch

# What torch's compiler sets when it first compiles.
_COMPILERS: Final = ("TORCHINDUCTOR_", "_TORCHINDUCTOR_", "TRITON_", "KMP_DUPLICATE_LIB_OK")
_CODE: Final = (
    *(FunctionType, BuiltinFunctionType, MethodDescriptorType, WrapperDescriptorType),
    *(type, property, staticmethod, classmethod),
)
# Where a trick that changes what everybody calls would do so; the classes in them too.
_CALLED: Final = (
    *(builtins, random, np, np.random, torch, torch.autograd, torch.nn, torch.nn.functional),
    *(torch.nn.init, torch.nn.utils, torch.optim, torch.optim.lr_scheduler, torch.amp),
)
_BACKENDS: Final = (
    *("cudnn.enabled", "cudnn.benchmark", "cudnn.deterministic", "cudnn.allow_tf32"),
    "mkldnn.enabled",
    *(f"cuda.matmul.allow_{kind}_reduced_precision_reduction" for kind in ("fp16", "bf16")),
)
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


def _owners() -> Iterator[ModuleType | type]:
    """Modules and classes whose functions may have been replaced: torch's, and the engine's."""
    engine = [m for name, m in list(sys.modules.items()) if name.split(".")[0] == "ablate"]
    for module in (*_CALLED, *engine):
        yield module
        yield from (value for value in list(vars(module).values()) if isinstance(value, type))


def _functions() -> Iterator[tuple[tuple[str, str, str], Any]]:
    for owner in _owners():
        place = getattr(owner, "__module__", ""), owner.__name__
        for name, value in list(vars(owner).items()):
            # torch.Storage is another class with another default dtype.
            if isinstance(value, _CODE) and (owner, name) != (torch, "Storage"):
                # Torch wraps an optimizer's `step` when one of its class is first made.
                wrapped: Any = value if name == "step" and hasattr(value, "hooked") else None
                yield (*place, name), wrapped.__wrapped__ if wrapped else value


def _module_hooks() -> dict[str, int]:
    """How many there are of each kind of hook that every module calls."""
    shared = vars(torch.nn.modules.module).items()
    return {name: len(hooks) for name, hooks in shared
            if name.startswith("_global_") and isinstance(hooks, dict)}  # fmt: skip


def _switches() -> Iterator[tuple[str, Any]]:
    """Torch's global switches that can be read."""
    for name in _BACKENDS:
        value: Any = torch.backends
        for part in name.split("."):
            value = getattr(value, part, None)
        yield name, value
    yield "deterministic", torch.are_deterministic_algorithms_enabled()
    yield "threads", torch.get_num_threads()
    smallest = torch.tensor(1e-310, dtype=torch.float64, device="cpu")
    yield "denormals", bool(smallest * 1 != 0)


def _limits() -> list[tuple[int, int]]:
    """The operating system's for this process, where it has any."""
    if sys.platform == "win32":
        return []
    import resource

    kinds = ("RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_NOFILE")
    return [resource.getrlimit(getattr(resource, kind)) for kind in kinds]


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
        try:
            now = self._state()
        except Exception as error:  # noqa: BLE001 - what is asked may itself be what was changed
            return [f"what can be looked at ({type(error).__name__})"]
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
            "functions": dict(_functions()),
            "hooks of all modules": _module_hooks(),
            "function modes": (
                torch._C._len_torch_function_stack(),
                torch._C._len_torch_dispatch_stack(),
            ),
            "switches": dict(_switches()),
            "import path": list(sys.path),
            "interpreter": (sys.getrecursionlimit(), gc.isenabled(), _limits()),
            "warnings as errors": [f for f in warnings.filters if f[0] == "error"],
            # Caches of the allocator and of cuDNN grow in honest trials too; a leak is larger.
            "device memory": self._allocated() >> 28 if cuda else 0,
        }

    def _allocated(self) -> int:
        """Bytes on the device, but for the images that a next trial will want."""
        from ablate.data.device_copy import kept_bytes

        return torch.cuda.memory_allocated(self._device) - kept_bytes()
