"""A small study to damage: trained whole, and stopped after two of its epochs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from ablate.store.store import Store
from tests.helpers.cli_process import run_cli, run_code

STUDY = """\
[study]
datasets = ["digits"]
seeds    = {seeds}
stack    = ["mixup"]

[recipe]
model      = "resnet8"
epochs     = 3
batch_size = 16
image_size = 8
"""

# As a worker trains, until it is asked to stop in the third epoch.
STOPPED = """
import itertools, json, sys
from pathlib import Path
from ablate.execution import trial_process
from ablate.store.store import Store
store = Store.open(Path(sys.argv[1]), create=False)
resolved = store.latest_study("study")
for key in resolved.order:
    steps = itertools.count(1)  # of an epoch there is one
    store.register(resolved.trials[key], resolved.labels[key])
    request = {"id": 1, "trial": resolved.trials[key].model_dump(mode="json"), "device": "cpu"}
    request |= {"store": str(store.path), "data_root": None, "no_plugins": False}
    request |= {"shared_device": False, "keep_weights": False}
    status = trial_process.run(request, lambda *_, **__: None, lambda: next(steps) == 3)
    assert status == "interrupted", status
"""


def trained(folder: Path, seeds: int) -> Path:
    """A store that has all of the study; `folder` has its file, study.toml."""
    folder.mkdir(exist_ok=True)
    (folder / "study.toml").write_text(STUDY.format(seeds=seeds))
    done = run(folder, "whole")
    assert done.returncode == 0, done.stderr
    return folder / "whole"


def run(folder: Path, store: str, **how: Any) -> Any:
    return run_cli("run", "study.toml", "--limit", "20", "--store", store, cwd=folder, **how)


def stopped(whole: Path, store: Path) -> None:
    """The same trials in another store, each with the checkpoints of its first two epochs."""
    Store.open(store, create=True)
    shutil.copytree(whole / "studies", store / "studies", dirs_exist_ok=True)
    done = run_code(STOPPED, store, cwd=whole.parent)
    assert done.returncode == 0, done.stderr


def numbers(store: Path) -> dict[str, Any]:
    """Of every trial what its epochs measured, and its predictions' bytes."""
    opened = Store.open(store, create=False)
    found = {}
    for key in sorted(opened.keys()):
        result = opened.result(key)
        if result is None:
            found[key] = None
            continue
        epochs = [
            {name: value for name, value in epoch.items() if "seconds" not in name}
            for epoch in result.epochs
        ]
        scores = result.lines.with_name("predictions.npz").read_bytes()
        found[key] = (json.dumps([epochs, result.final]), scores)
    return found
