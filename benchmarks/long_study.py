"""What coordinating costs: a study of 1,000 tiny trials, `ablate run`'s own memory and processor.

    python benchmarks/long_study.py [--trials 1000] [--epochs 3] [--limit 200] [--out FOLDER]

Trains such a study on digits through the command line, in a fresh store, and looks once a second at
the process that coordinates: its resident memory (what is its own, and all) and the processor time
it has taken. At the end the processor time of everything that ran: the coordinator, the process
that imports, and one process for each trial. `--terminal` gives it a terminal, with the live view;
else it writes lines, as into a file. Writes FOLDER/long-study.json and FOLDER/long-study.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

from scale import provenance

FIRST = 100  # trials after which memory is compared with the end's
BAR = 5.0  # percent of the processor time
MIB = 2**20

STUDY = """\
[study]
datasets = ["digits"]
seeds    = {seeds}
stack    = ["warmup", "mixup", "label_smoothing"]

[recipe]
model      = "resnet8"
epochs     = {epochs}
batch_size = 16
image_size = 8

[tricks]
warmup = {{ epochs = 0.5 }}
"""
ROWS = 4


class Sample(NamedTuple):
    """Of the coordinator: s since its start, trials done, MiB, MiB of its own, processor s."""

    seconds: float
    trials: int
    resident: float
    own: float
    cpu: float


def sample(pid: int, began: float, store: Path) -> Sample | None:
    """One look at a process; None if it has ended."""
    try:
        _, pages, shared, *_ = map(int, Path(f"/proc/{pid}/statm").read_text().split())
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    if not pages:  # it has ended, and waits to be asked how
        return None
    page, tick = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
    done = sum(1 for _ in store.glob("trials/*/2*/done.json"))
    return Sample(
        round(time.monotonic() - began, 2), done, round(pages * page / MIB, 1),
        round((pages - shared) * page / MIB, 1), (int(fields[11]) + int(fields[12])) / tick,
    )  # fmt: skip


def watched(folder: Path, study: Path, arguments: list[str], terminal: bool) -> dict[str, Any]:
    """Run it to its end; the samples, and the processor seconds of all processes."""
    command = [sys.executable, "-m", "ablate", "run", str(study), "--store", str(folder / "store")]
    output = (folder / "output.txt").open("wb")
    streams: dict[str, Any] = {"stdout": output, "stderr": output}
    if terminal:
        ours, theirs = os.openpty()
        streams = {"stdout": theirs, "stderr": theirs}
        threading.Thread(target=drained, args=(ours,), daemon=True).start()
    began = time.monotonic()
    process = subprocess.Popen(
        [*command, "--device", "cpu", *arguments], cwd=folder, **streams,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TERM": "xterm-256color"},
    )  # fmt: skip
    samples: list[Sample] = []
    # Looking at the store takes longer as it grows: some tenths of a second at most between two.
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if (one := sample(process.pid, began, folder / "store")) is not None:
            samples.append(one)
        time.sleep(1)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    output.close()
    if process.returncode:
        raise SystemExit((folder / "output.txt").read_text(errors="replace")[-2000:])
    return {
        "samples": samples,
        "seconds": round(time.monotonic() - began, 1),
        "cpu_all": round(used.ru_utime + used.ru_stime, 2),
    }


def drained(descriptor: int) -> None:
    """Read what is drawn, so that drawing never waits."""
    while True:
        try:
            if not os.read(descriptor, 1 << 16):
                return
        except OSError:
            return


def summarised(found: dict[str, Any]) -> dict[str, Any]:
    """What the samples come to."""
    samples: list[Sample] = found["samples"]
    last = samples[-1]
    number = min(FIRST, last.trials // 2)
    first = next(one for one in samples if one.trials >= number)
    begun = next(one for one in samples if one.trials > 0)
    trained = next(one for one in samples if one.trials == last.trials)
    training = found["cpu_all"] - last.cpu
    return {
        "trials": last.trials,
        "seconds": found["seconds"],
        "cpu_all": found["cpu_all"],
        "cpu_coordinator": last.cpu,
        "percent": round(100 * last.cpu / found["cpu_all"], 2),
        "cpu_until_the_first_trial_ended": begun.cpu,
        "percent_after_it": round(100 * (last.cpu - begun.cpu) / (found["cpu_all"] - begun.cpu), 2),
        "cpu_of_a_trial": round(training / last.trials, 3),
        "ms_of_coordinating_a_trial": round(1000 * (last.cpu - begun.cpu) / last.trials, 1),
        "compared_after": first.trials,
        "mib_then": first.own,
        "mib_when_all_were_trained": trained.own,
        "growth_mib": round(trained.own - first.own, 1),
        "mib_at_the_end": last.own,
        "resident_mib_at_the_end": last.resident,
    }


def table(document: dict[str, Any]) -> str:
    """In Markdown."""
    found = document["found"]
    rows = {
        "trials": f"{found['trials']:,}, {found['cpu_of_a_trial']:.2f} s of processor each",
        "took": f"{found['seconds']:,.0f} s",
        "processor, everything": f"{found['cpu_all']:,.0f} s",
        "processor, coordinator": f"{found['cpu_coordinator']:.1f} s, {found['percent']:.1f}% "
        f"(bar {BAR:.0f}%); {found['ms_of_coordinating_a_trial']:.0f} ms a trial",
        "of that before the first trial ended": (
            f"{found['cpu_until_the_first_trial_ended']:.1f} s; "
            f"{found['percent_after_it']:.1f}% after it"
        ),
        f"coordinator's own memory after {found['compared_after']} trials": (
            f"{found['mib_then']:.0f} MiB"
        ),
        "when all were trained": (
            f"{found['mib_when_all_were_trained']:.0f} MiB: {found['growth_mib']:+.1f} MiB"
        ),
        "and when the table was printed": f"{found['mib_at_the_end']:.0f} MiB",
    }
    lines = [f"`{document['command']}`", "", "| | |", "| :-- | :-- |"]
    return "\n".join([*lines, *(f"| {name} | {value} |" for name, value in rows.items())])


def main() -> int:
    """Train, watch, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--limit", type=int, default=200, help="images of a split")
    parser.add_argument("--terminal", action="store_true", help="with the live view")
    parser.add_argument("--out", type=Path, help="folder for the JSON and the Markdown")
    options = parser.parse_args()
    document: dict[str, Any] = provenance()
    document["command"] = " ".join(["python", "benchmarks/long_study.py", *sys.argv[1:]])
    with tempfile.TemporaryDirectory(prefix="ablate-long-") as scratch:
        folder, seeds = Path(scratch), max(1, options.trials // ROWS)
        study = folder / "long.toml"
        study.write_text(STUDY.format(seeds=seeds, epochs=options.epochs), encoding="utf-8")
        found = watched(folder, study, ["--limit", str(options.limit)], options.terminal)
    document["found"] = summarised(found)
    document["samples"] = found["samples"]
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(document, indent=1).replace("\n   ", " ").replace("\n  ]", " ]")
        (options.out / "long-study.json").write_text(text + "\n", encoding="utf-8")
        (options.out / "long-study.md").write_text(table(document) + "\n", encoding="utf-8")
    print(table(document))
    return 0


if __name__ == "__main__":
    sys.exit(main())
