"""How many graphs a study compiled, for each distinct graph it has: 1.0 when none is made twice.

A study of four rows and two architectures over two seeds, with `numerics = "fast"`, on an empty
store with an empty compiler cache. What counts as compiled is what every trial's `done.json` says:
graphs it compiled itself, and graphs that torch made beyond those asked for.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from measure import Bar, LeftOutError, Result, Row
from place import Place

STUDY = """\
[study]
name     = "graphs"
datasets = ["{dataset}"]
seeds    = 2
stack    = ["label_smoothing", "zero_gamma", "squeeze_excitation"]
numerics = "fast"

[recipe]
model      = "{model}"
epochs     = 2
batch_size = {batch}
image_size = {size}
"""


def measure(place: Place) -> Result:
    """Compiled ÷ distinct."""
    if place.tiny:
        raise LeftOutError("compiling takes a minute; without --tiny it is measured")
    model, size, batch = place.pick(
        gpu=("resnet50", 128, 64), cpu=("resnet8", 32, 64), tiny=("resnet8", 16, 10)
    )
    place.cached()
    file = place.out / "graphs.toml"
    file.write_text(STUDY.format(dataset=place.dataset, model=model, batch=batch, size=size))
    store, kernels = place.out / "graphs-store", place.out / "graphs-kernels"
    for folder in (store, kernels):
        shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "ablate", "run", str(file), "--store", str(store)]
    done = subprocess.run(
        [*command, "--limit", "640", "--device", str(place.device)],
        capture_output=True, text=True, check=False,
        env={**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(kernels)},
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"ablate run ended with {done.returncode}: {done.stderr[-2000:]}")
    return counted(store)


def counted(store: Path) -> Result:
    """What the store's trials say. Raises LeftOutError where none compiled."""
    done = [json.loads(path.read_text()) for path in store.glob("trials/*/*/done.json")]
    trials = [document.get("summary", {}) for document in done]
    if not any(trial.get("graphs") for trial in trials):
        raise LeftOutError("no trial says that it compiled: no compiler here, or an older engine")
    distinct = {key for trial in trials for key in trial["graph_keys"]}
    made = sum(trial["compiled"] + trial["recompiled"] for trial in trials)
    seconds = [trial["compile_seconds"] for trial in trials]
    return Result(
        [
            Row("graphs compiled ÷ distinct graphs", [made / len(distinct)], bar=Bar("≤", 1.0)),
            Row("a trial's time in first calls of graphs", seconds, "s"),
        ],
        [f"{len(trials)} trials, {len(distinct)} distinct graphs, {made} compiled"],
        {"trials": trials},
    )
