"""Tricks that train as if they were not there, and leave their process other than they found it."""

from __future__ import annotations

import builtins
import gc
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ablate import Trick, hookimpl


class Doubled(TorchFunctionMode):
    """Doubles every loss that is computed while it is in force."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        return 2 * out if func is nn.functional.cross_entropy else out


def _patched(owner: Any, name: str, change: Callable[[Any], Any]) -> None:
    original = getattr(owner, name)
    setattr(owner, name, lambda *args, **more: change(original(*args, **more)))


def _draws_for_ever() -> None:
    def draw() -> None:
        while True:
            torch.rand(10)
            random.random()
            time.sleep(0.0001)

    threading.Thread(target=draw, daemon=True).start()


def _doubles(module: Any, inputs: Any, output: Any) -> Any:
    return output * 1.01


LEAKS: dict[str, Callable[[], object]] = {
    "dtype": lambda: torch.set_default_dtype(torch.float64),
    "device": lambda: torch.set_default_device("meta"),
    "gradients": lambda: torch.set_grad_enabled(False),
    "generators": lambda: (torch.manual_seed(9), random.seed(9), np.random.seed(9)),
    "threads": lambda: torch.set_num_threads(2),
    "denormals": lambda: torch.set_flush_denormal(True),
    "precision": lambda: torch.set_float32_matmul_precision("medium"),
    "mkldnn": lambda: setattr(torch.backends.mkldnn, "enabled", False),
    "mode": lambda: Doubled().__enter__(),
    "module hook": lambda: nn.modules.module.register_module_forward_hook(_doubles),
    "optimizer": lambda: _patched(torch.optim.SGD, "step", lambda result: None),
    "function": lambda: _patched(nn.functional, "cross_entropy", lambda loss: 2 * loss),
    "method": lambda: _patched(nn.Conv2d, "forward", lambda output: 1.01 * output),
    "norm": lambda: _patched(nn.functional, "batch_norm", lambda output: 1.01 * output),
    "tensor": lambda: _patched(torch.Tensor, "backward", lambda result: None),
    "numpy": lambda: _patched(np.random, "default_rng", lambda rng: np.random.RandomState(1)),
    "builtin": lambda: setattr(builtins, "sum", lambda *args: 7),
    "modules": lambda: sys.modules.update({"numpy": None}),
    "path": sys.path.clear,
    "environment": lambda: os.environ.update(OMP_NUM_THREADS="7", TORCH_LOGS="bad", PATH=""),
    "folder": lambda: os.chdir("/"),
    "mask": lambda: os.umask(0o777),
    "signals": lambda: [signal.signal(n, signal.SIG_IGN) for n in (2, 15)],
    "limits": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)),
    "recursion": lambda: sys.setrecursionlimit(200),
    "collector": lambda: (gc.disable(), gc.freeze()),
    "warnings": lambda: warnings.simplefilter("error"),
    "thread": _draws_for_ever,
    "child": lambda: subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"]),
}


class Leaks(Trick):
    """Changes what a whole process shares, at the end of its last epoch."""

    what: Literal[tuple(LEAKS)]  # type: ignore[valid-type]

    @hookimpl
    def on_epoch_end(self) -> None:
        LEAKS[self.what]()
