"""Benchmarks: paired, interleaved, medians with spread; benchmarks/README.md has the parts.

    python benchmarks/run.py [--part NAME …] [--data ROOT] [--out FOLDER] [--minutes 30]

On a CPU the CPU's parts, on a GPU the GPU's. Each part writes `FOLDER/<part>.json` (rows, hardware,
versions, command, date) as soon as it is done, `FOLDER/report.md` has all of them, and a part whose
file is there is skipped: the same call continues. A part that fails writes its error and the others
go on. `--tiny` runs all parts in seconds, on any device and without data: that is how they are
kept working where there is no GPU.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import torch
from measure import LeftOutError, UnfinishedError, provenance, table, write
from place import Place

CPU = ("start", "step", "cpu_data", "gpu_data", "epoch", "trial_cost", "compiles", "study")
GPU = (
    *("augment", "exact", "formats", "throughput", "real", "gpu_data", "step", "trial_cost"),
    *("compiles", "epoch", "fifty", "studies"),
)
PARTS = tuple(dict.fromkeys((*CPU, *GPU)))
SPARE = 15.0  # seconds: with less, no part is begun


def main() -> int:
    """Run the parts that have no result yet."""
    options = asked()
    device = torch.device(options.device)
    options.out.mkdir(parents=True, exist_ok=True)
    place = Place(
        device=device,
        data=options.data,
        out=options.out.resolve(),
        tiny=options.tiny,
        repeats=options.repeats,
        ends=time.monotonic() + 60 * options.minutes,
        seeds=options.seeds,
        editions=options.editions,
    )
    parts = options.part or (PARTS if options.tiny else GPU if place.gpu else CPU)
    ended = [one(place, name) for name in parts]
    documents = [
        json.loads(file.read_text(encoding="utf-8"))
        for name in PARTS
        if (file := place.out / f"{name}.json").exists()
    ]
    (place.out / "report.md").write_text(table(documents), encoding="utf-8")
    print(f"\n{table(documents)}\n{place.out / 'report.md'}")
    return 0 if all(ended) else 1


def one(place: Place, name: str) -> bool:
    """Measure one part and keep what it found; False if it failed."""
    file = place.out / f"{name}.json"
    if file.exists():
        print(f"{name}: done before, {file}", flush=True)
        return True
    if place.left < SPARE:
        print(f"{name}: no time left; run the same command again", flush=True)
        return True
    print(f"{name} …", flush=True)
    document: dict[str, Any] = {"part": name, **provenance(place.device)}
    began = time.monotonic()
    try:
        document |= importlib.import_module(f"parts.{name}").measure(place).document()
    except LeftOutError as reason:
        document["left_out"] = str(reason)
    except UnfinishedError as rest:
        print(f"{name}: {rest}; run the same command again", flush=True)
        return True
    except Exception:  # noqa: BLE001 - the other parts still count; this one is repeated
        (place.out / f"{name}.error").write_text(traceback.format_exc(), encoding="utf-8")
        print(f"{name}: FAILED\n{traceback.format_exc()}", flush=True)
        return False
    document["seconds"] = time.monotonic() - began
    write(file, document)
    print(f"{name}: {document['seconds']:.0f} s, {file}", flush=True)
    return True


def asked() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", action="append", choices=PARTS, help="may be repeated")
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "ablate-bench")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("ABLATE_DATA", ".")))
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--repeats", type=int, default=5, help="at least so many of everything")
    parser.add_argument("--device", default="cuda:0" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--tiny", action="store_true", help="all parts, in seconds")
    parser.add_argument("--editions", action="store_true", help="of part studies: also those")
    parser.add_argument(
        "--seeds", type=int, help="of parts study and studies: instead of their own"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
