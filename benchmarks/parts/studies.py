"""Shipped studies on real images through the command line, as a person runs them.

Group 1 and group 2 first, then the Imagenette editions of the paper's tables, those first that tell
most for their time. Each leaves `studies/NAME.json` (command, exit, seconds, whether it finished,
the report's numbers), `NAME.md` and, beside the paper's figures, `NAME-paper.md`, as soon as it
ends or the minutes do; the same call continues with what is missing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measure import Result, UnfinishedError, provenance
from place import Place

from ablate.data.fingerprint import dataset_ref
from ablate.errors import DataError
from ablate.study import load_study

GROUPS = ("group1", "group2")
EDITIONS = (
    "imagenette/table4",  # ResNet-50 alone, five seeds, eight of the paper's differences
    "imagenette/table5",  # and its variants, with their cost
    "imagenette/table3",  # the paper's three models; table 2 is its baselines, and nearly free
    "imagenette/table2",
    "imagenette/table7",  # needs Imagewoof
    "imagenette/table6",  # longest: a teacher, and 21 trainings of Inception-V3 at 299 pixels
)
SPARE = 20.0  # seconds kept for stopping and for the reports
ENDED = (0, 1)  # 1: a trial diverged or failed, and its row says so


@dataclass(frozen=True)
class Where:
    """left: seconds of the call's minutes. provenance: goes into each document."""

    data: Path
    out: Path
    device: str
    left: Callable[[], float]
    provenance: dict[str, Any]

    @property
    def common(self) -> list[str]:
        """Options of every command."""
        return ["--store", str(self.out / "ablate-results"), "--data", str(self.data)]


def measure(place: Place) -> Result:
    """Every study's document. Raises UnfinishedError, or RuntimeError for a refusal."""
    where = Where(
        place.data, place.out, str(place.device), lambda: place.left, provenance(place.device)
    )
    done: dict[str, Any] = {}
    waiting, refused = [], []
    (where.out / "studies").mkdir(exist_ok=True)
    for name, options in asked(editions=place.editions, seeds=place.seeds, tiny=place.tiny):
        there, missing = datasets(name, where.data)
        if not there:
            done[name] = {"left out": missing}
            print(f"  {name}: left out, {missing}", flush=True)
            continue
        arguments = [name, *options, *(x for one in there for x in ("--dataset", one))]
        file = where.out / "studies" / f"{name.replace('/', '-')}.json"
        known = json.loads(file.read_text()) if file.exists() else {}
        if known.get("finished") and known["arguments"] == arguments:
            done[name] = known
            continue
        if where.left() < 2 * SPARE:
            waiting.append(name)
            continue
        done[name] = one_study(where, arguments, file)
        if done[name]["exit"] == 2:
            refused.append(name)
        elif not done[name]["finished"]:
            waiting.append(name)
        print(f"  {name}: exit {done[name]['exit']}, {file}", flush=True)
    if refused:
        raise RuntimeError(f"refused: {', '.join(refused)}")
    if waiting:
        raise UnfinishedError(f"not finished: {', '.join(waiting)}")
    return Result(details=done, notes=[f"{name}: in studies/" for name in done])


def asked(*, editions: bool, seeds: int | None, tiny: bool) -> list[tuple[str, list[str]]]:
    """(name, options) of each study, in order."""
    few = [] if seeds is None else ["--seeds", str(seeds)]
    if not tiny:
        groups = [(name, ["--set", "recipe.image_size=128", *few]) for name in GROUPS]
        return [*groups, *((name, few) for name in EDITIONS if editions)]
    few = ["--seeds", "1", "--set", "recipe.epochs=1"]
    quick = [("quickstart", [*few, "--limit", "40", "--set", "recipe.batch_size=16"])]
    small = [x for s in ("batch_size=4", "image_size=32") for x in ("--set", f"recipe.{s}")]
    return quick + [(name, [*few, "--limit", "10", *small]) for name in EDITIONS[:1] if editions]


def datasets(name: str, data: Path) -> tuple[list[str], str]:
    """The study's data sets that are there, and what is said of the others."""
    there, missing = [], []
    for dataset in load_study(name).datasets:
        try:
            dataset_ref(dataset, image_size=160, data_root=data, limit=None)
            there.append(dataset)
        except DataError as error:
            missing.append(error.message)
    return there, "; ".join(missing)


def one_study(where: Where, arguments: Sequence[str], file: Path) -> dict[str, Any]:
    """Train what is missing of one study until it is done or time is up, and write its reports."""
    run = ["run", *arguments, *where.common, "--device", where.device]
    began = time.monotonic()
    process = subprocess.Popen(ablate(*run), stdout=subprocess.DEVNULL)
    try:
        process.wait(timeout=max(SPARE, where.left() - SPARE))
    except subprocess.TimeoutExpired:
        process.terminate()  # it stops after the step, and what is done is kept
        process.wait()
    document = {
        **where.provenance,
        "command": " ".join(["ablate", *run]),
        "arguments": list(arguments),
        "exit": process.returncode,
        "finished": process.returncode in ENDED,
        "seconds": time.monotonic() - began,
    }
    if process.returncode != 2:
        name = arguments[0]
        document["report"] = json.loads(report(where, name, "json") or "null")
        file.with_suffix(".md").write_text(report(where, name, "markdown"))
        if name in EDITIONS:
            beside = report(where, name, "markdown", "--compare", "paper")
            file.with_name(f"{file.stem}-paper.md").write_text(beside)
    # last: it says that the others are there
    file.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    return document


def report(where: Where, name: str, kind: str, *options: str) -> str:
    """A report of the study as it was last run; empty when no trial is done."""
    command = ablate("report", name, "--format", kind, *options, *where.common)
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        print(f"  {made.stderr.strip()}", flush=True)
    return made.stdout


def ablate(*arguments: str) -> list[str]:
    """The command line in this interpreter."""
    return [sys.executable, "-m", "ablate", *arguments]
