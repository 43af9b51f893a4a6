"""How long reports take on a large store: 500 trials and 10 million metric rows by default.

    python benchmarks/scale.py [--store FOLDER] [--trials 500] [--rows 20000] [--out FILE]

Writes such a store through the writer that trials use (5 rows × 2 data sets × seeds of one study,
and a second study that shares its first seeds; one trial in fifty is interrupted), unless FOLDER
has it already; takes it into the database; then times each command as a fresh process, `--repeats`
rounds, one command after the other in each round. Prints a table and writes JSON: hardware,
versions, command, date, seconds of every run, processor seconds, largest memory (at least this
program's own: a child begins with it).

What a training would spend on fsync after every epoch is left out of the writing: it changes no
byte of the store.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import math
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ablate.core.resolved_study import ResolvedStudy
from ablate.design import resolve
from ablate.store.attempt_writer import Attempt
from ablate.store.store import Store
from ablate.study import load_study
from ablate.util.devices import cpu_name

ROOT = Path(__file__).resolve().parent.parent
METRICS = (
    *("train_loss", "train_top1", "loss", "top1", "top5"),
    *("calibration", "lr", "momentum", "gradient_norm", "weight_norm"),
)
ROWS = 5  # of a table
DATASETS = {"imagenette": 3925, "imagewoof": 3929}  # test images
CLASSES = 10
BARS = {"help": 0.25, "report one": 1.5, "report all": 1.5, "report json": 1.5}  # seconds

# A count of trials, one curve, the window of old over every row, two metrics side by side, every
# prediction, the report's own numbers, and a row of each trial.
QUERIES = {
    "status": "select status, count(*) from trials group by all",
    "trials": "from trials",
    "curve": "select tricks, epoch, avg(value) from epochs where metric = 'top1' group by all",
    "one trial": "from epochs where dataset = 'imagewoof' and seed = 0 and metric = 'loss'",
    "largest": "select key, metric, max(value) from epochs group by all",
    "count": "select count(*) from epochs",
    "pivot": "pivot epochs on metric in ('top1', 'loss') using avg(value) group by dataset, epoch",
    "classes": "select dataset, label, avg(correct::int) from predictions group by all",
    "effects": "select dataset, trick, delta, verdict from effects",
}

STUDY = """\
[study]
datasets = ["imagenette", "imagewoof"]
seeds    = {seeds}
stack    = ["warmup", "fp16", "mixup", "zero_gamma"]
numerics = "exact"

[recipe]
model      = "resnet50_v1"
epochs     = {epochs}
batch_size = 64
lr         = 0.025

[tricks]
warmup = {{ epochs = 2 }}
mixup  = {{ alpha = 0.2 }}
"""


def studies(folder: Path, trials: int, epochs: int) -> list[Path]:
    """The study of all trials, and one of its first seeds."""
    (folder / "studies").mkdir(parents=True, exist_ok=True)
    seeds = max(1, trials // (ROWS * len(DATASETS)))
    found = []
    for name, number in (("scale", seeds), ("scale_first", min(3, seeds))):
        found.append(folder / "studies" / f"{name}.toml")
        found[-1].write_text(STUDY.format(seeds=number, epochs=epochs), encoding="utf-8")
    return found


def resolved(study: Path, folder: Path) -> ResolvedStudy:
    """On a machine without the images: nothing is trained here."""
    return resolve(
        load_study(study),
        data_root=folder / "no-data",
        device_type="cpu",
        command=f"ablate run {study}",
        allow_missing_data=True,
    )


def write_trial(task: tuple[Path, ResolvedStudy, str, int]) -> None:
    """One attempt, as a training of that trial writes it."""
    path, study, key, number = task
    trial, store = study.trials[key], Store(path)
    row = next(i for t in study.tables for i, r in enumerate(t.rows) if key in r.keys)
    random = np.random.default_rng(number)
    epochs = trial.recipe.epochs
    ended = number % 50 != 49  # else killed on the way
    store.register(trial, study.labels[key])
    with Attempt.begin(path, key) as attempt:
        noise = random.normal(0, 0.01, (epochs, len(METRICS)))
        seconds = random.normal(14.0 + row, 0.2, epochs).round(4)
        for epoch in range(1, (epochs if ended else max(1, epochs - 3)) + 1):
            learned = 1 - math.exp(-5 * epoch / epochs)
            values = noise[epoch - 1] + learned * (0.85 + 0.01 * row)
            attempt.record(
                "epoch",
                epoch=epoch,
                metrics=dict(zip(METRICS, values.tolist(), strict=True)),
                seconds=float(seconds[epoch - 1]),
                steps=147,
                images=9408,
            )
        attempt.log("what a training says\n" * 20)
        attempt.save_environment(
            {
                "host": platform.node(),
                "device": "cpu",
                "device_name": cpu_name(),
                "torch": "2.11.0",
                "ablate": importlib.metadata.version("ablate-study"),
                "python": platform.python_version(),
                "packages": {f"package-{i}": "1.0.0" for i in range(20)},
            }
        )
        if ended:
            images = DATASETS[trial.dataset.name]
            scores = random.normal(0, 3, (images, CLASSES))
            attempt.save_predictions(np.arange(images), random.integers(0, CLASSES, images), scores)
            attempt.finish("done", examples=images, parameters=23_528_522, macs=1_300_000_000)


def build(folder: Path, trials: int, epochs: int) -> dict[str, Any]:
    """Write the store; seconds, trials, rows and bytes."""
    began = time.monotonic()
    main, first = (resolved(study, folder) for study in studies(folder, trials, epochs))
    store = Store.open(folder / "ablate-results", create=True)
    # Every row has an interrupted seed at most: a diverse order of seeds and rows.
    tasks = [(store.path, main, key, number) for number, key in enumerate(sorted(main.order))]
    with multiprocessing.get_context("spawn").Pool(min(len(tasks), os.cpu_count() or 1)) as pool:
        for _ in pool.imap_unordered(write_trial, tasks, chunksize=4):
            pass
    store.save_study(first)
    store.save_study(main)
    files = [path for path in store.path.rglob("*") if path.is_file()]
    return {
        "trials": len(tasks),
        "metric_rows": len(tasks) * epochs * len(METRICS),
        "files": len(files),
        "bytes": sum(path.stat().st_size for path in files),
        "seconds_to_write": round(time.monotonic() - began, 1),
    }


def timed(arguments: Sequence[str], folder: Path) -> dict[str, Any]:
    """One command as a fresh process: seconds, exit code, largest resident memory in MiB."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ABLATE_DATA": str(folder / "no-data")}
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "ablate", *arguments],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return {
        "seconds": round(seconds, 4),
        "cpu": round(usage.ru_utime + usage.ru_stime, 4),
        "exit": process.returncode,
        "mib": round(usage.ru_maxrss / unit, 1),
        "output": output.decode("utf-8", "replace"),
    }


def commands(folder: Path) -> dict[str, list[str]]:
    """What is timed, by a short name; `reindex` is timed before them, once."""
    study = str(folder / "studies" / "scale.toml")
    shipped = ROOT / "studies" / "group1.toml"
    return {
        "help": ["--help"],
        "report one": ["report", "scale"],
        "report all": ["report"],
        "report json": ["report", "scale", "--format", "json"],
        "report file": ["report", study],
        "status": ["status"],
        "logs": ["logs", "scale:mixup/imagewoof/0"],
        "plan": ["plan", study],
        "plan another": ["plan", study, "--set", "recipe.lr=0.05"],
        "doctor": ["doctor"],
        "tricks": ["tricks"],
        "check": ["check", str(shipped)],
        **{f"query {name}": ["query", sql, "--format", "csv"] for name, sql in QUERIES.items()},
    }


def measure(folder: Path, repeats: int, only: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Every command, `repeats` times, round by round; the figures so far after each round."""
    chosen = {n: a for n, a in commands(folder).items() if not only or n in only}
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in chosen}
    for _ in range(repeats):
        for name, arguments in chosen.items():
            runs[name].append(timed(arguments, folder))
        yield summarised(chosen, runs, folder)


def summarised(
    chosen: dict[str, list[str]], runs: dict[str, list[dict[str, Any]]], folder: Path
) -> dict[str, Any]:
    """Medians and spread of each command's runs."""
    found, shown = {}, (str(folder), "FOLDER")
    for name, each in runs.items():
        codes = {run["exit"] for run in each}
        # doctor ends with 1 where there is something to do: the data sets are not here.
        if codes - ({0, 1} if name == "doctor" else {0}):
            raise SystemExit(f"ablate {' '.join(chosen[name])} failed:\n{each[0]['output']}")
        seconds = [run["seconds"] for run in each]
        found[name] = {
            "command": "ablate " + " ".join(chosen[name]).replace(*shown).replace(f"{ROOT}/", ""),
            "seconds": seconds,
            "median": round(statistics.median(seconds), 3),
            "least": min(seconds),
            "most": max(seconds),
            "cpu": round(statistics.median(run["cpu"] for run in each), 3),
            "mib": max(run["mib"] for run in each),
            "bar": BARS.get(name),
        }
    return found


def reindexed(folder: Path) -> dict[str, Any]:
    """The database from nothing."""
    run = timed(["reindex"], folder)
    if run["exit"]:
        raise SystemExit(f"ablate reindex failed:\n{run['output']}")
    size = (folder / "ablate-results" / "results.duckdb").stat().st_size
    return {name: run[name] for name in ("seconds", "cpu", "mib")} | {"bytes": size}


def provenance() -> dict[str, Any]:
    """Hardware, versions, command and date."""
    packages = ("ablate-study", "duckdb", "numpy", "pydantic", "typer", "torch")
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (ValueError, OSError):  # not on this system
        memory = math.nan
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python", "benchmarks/scale.py", *sys.argv[1:]]),
        "hardware": {
            "processor": cpu_name(),
            "cores": os.cpu_count(),
            "memory_gib": round(memory, 1) if math.isfinite(memory) else None,
            "load": [round(load, 2) for load in os.getloadavg()],
        },
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in packages},
    }


def table(document: dict[str, Any]) -> str:
    """The figures in markdown."""
    store, database = document["store"], document["reindex"]
    lines = [
        f"{store['trials']:,} trials, {store['metric_rows']:,} metric rows, {store['files']:,} "
        f"files, {store['bytes'] / 1e6:,.0f} MB",
        "",
    ]
    if database:
        size = database["bytes"] / 1e6
        lines += [
            f"`ablate reindex`: {database['seconds']:.1f} s ({database['cpu']:.1f} s of processor),"
            f" {database['mib']:.0f} MiB of memory at most, a database of {size:,.0f} MB",
            "",
        ]
    lines += ["| command | median s | least | most | processor s | memory MiB | bar s |"]
    lines += ["| :-- | --: | --: | --: | --: | --: | --: |"]
    for one in document["commands"].values():
        figures = [f"{one[name]:.2f}" for name in ("median", "least", "most", "cpu")]
        bar = f"{one['bar']:.2f}" if one["bar"] else ""
        cells = [f"`{one['command']}`", *figures, f"{one['mib']:.0f}", bar]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    """Build, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--store", type=Path, help="a folder, reused if it has such a store")
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--rows", type=int, default=20_000, help="metric rows of a trial")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", action="append", default=[], help="a name of `commands`")
    parser.add_argument("--no-reindex", action="store_true", help="leave the database as it is")
    parser.add_argument("--out", type=Path, help="JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ablate-scale-") as scratch:
        folder = (options.store or Path(scratch)).resolve()
        made = folder / "built.json"
        if not made.exists():
            epochs = max(1, options.rows // len(METRICS))
            built = build(folder, options.trials, epochs)
            made.write_text(json.dumps(built), encoding="utf-8")
        document: dict[str, Any] = provenance()
        document["store"] = json.loads(made.read_text(encoding="utf-8"))
        document["reindex"] = None if options.no_reindex else reindexed(folder)
        for found in measure(folder, options.repeats, options.only):
            document["commands"] = found
            if options.out:
                options.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(table(document))
    return 0


if __name__ == "__main__":
    sys.exit(main())
