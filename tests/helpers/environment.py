"""The environment of the commands and programs that tests start, and of those run in this process.

Whoever runs the tests may have set how ablate prints, or where its data is; no test may see that.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = ("ABLATE_", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "CI", "TERM")


def environment(*paths: Path, **more: str | Path) -> dict[str, str]:
    """This process's, without what changes what ablate does or prints, and with what is given.

    paths: folders to import from. A process that imports `tests.helpers`, or trains a model or a
    data set that is named by its import path there, needs ROOT: nothing else puts it there.
    """
    kept = {k: v for k, v in os.environ.items() if not k.startswith(OURS) or k == "ABLATE_CACHE"}
    made = kept | {"TERM": "xterm-256color", "PYTHONUTF8": "1"}
    if paths:
        made["PYTHONPATH"] = os.pathsep.join(map(str, paths))
    return made | {name: str(value) for name, value in more.items()}


def forget_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take out of this process's environment what `environment` leaves out."""
    for name in set(os.environ) - set(environment()):
        monkeypatch.delenv(name)
