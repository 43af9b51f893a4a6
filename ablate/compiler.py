"""Whether torch's compiler finds here what it needs. No torch: `plan` asks."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import sysconfig
from pathlib import Path


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
