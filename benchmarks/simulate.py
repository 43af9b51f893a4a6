"""Simulated tables with a known truth: coverage, false claims, power; docs/statistics.md has it.

    python benchmarks/simulate.py [--part NAME …] [--repeats 20000] [--seed 1] [--out FILE]
    python benchmarks/simulate.py --page docs/statistics.md --from FILE

One process, NumPy and scipy alone. Prints each part's figures as it has them and writes JSON:
every percentage with its Monte-Carlo error, number of tables, bar, versions, command and date. A
file that is there keeps its other parts. The second form writes a file's figures into a page,
between the page's two marks.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import importlib.metadata
import json
import platform
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ablate._version import __version__
from ablate.util.devices import cpu_name

TITLES = {
    "coverage": "95% intervals cover the truth",
    "unstable": "Rows with noise of their own, and rows that are alike",
    "family": "False claims in a table",
    "small": "Few test images",
    "looks": "Stopping early",
    "sequences": "Looking again",
    "equivalence": "Called equivalent at the margin's edge",
    "power": "The smallest detectable effect is found, seeds are enough, a wanted width covers",
    "orders": "Shares over orders cover",
    "datasets": "Means over data sets cover",
    "one_seed": "Useless tricks with one seed",
    "times": "Ratios of times cover where a machine's speed drifts",
    "tune": "False claims where rows choose a setting",
}
PARTS = tuple(TITLES)
COUNTED_ACROSS = ("orders", "datasets", "one_seed")  # what is counted has a column; else the seeds
BEGIN, END = "<!-- simulated -->", "<!-- /simulated -->"


def provenance(options: argparse.Namespace) -> dict[str, Any]:
    """Versions, hardware, command, date."""
    return {
        "command": f"python {' '.join(sys.argv)}",
        "date": datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds"),
        "repeats": options.repeats,
        "seed": options.seed,
        "processor": cpu_name(),
        "python": platform.python_version(),
        "ablate": __version__,
        **{name: importlib.metadata.version(name) for name in ("numpy", "scipy")},
    }


def table(part: str, figures: list[dict[str, Any]]) -> str:
    """A part in markdown: one line per setting, its figures across in percent."""
    across, down = ("what", "seeds") if part in COUNTED_ACROSS else ("seeds", "what")
    columns = list(dict.fromkeys(one[across] for one in figures))
    lines: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in figures:
        lines.setdefault((one["setting"], one[down]), []).append(one)
    heads = ["setting", down.replace("what", "counted"), *columns, "bar", "±", "tables"]
    text = [f"### {TITLES[part]}", "", f"| {' | '.join(heads)} |"]
    text += [f"| :-- | :-- |{' --: |' * len(columns)} :-- | --: | --: |"]
    for (setting, name), found in lines.items():
        cells = [_cell([one for one in found if one[across] == c]) for c in columns]
        bars = dict.fromkeys(bar for one in found if (bar := _bar(one["low"], one["high"])))
        error = max(one["error"] for one in found)
        tables = min(one["tables"] for one in found)
        cells = [setting, name, *cells, ", ".join(bars), f"{error:.2f}", f"{tables:,}"]
        text.append(f"| {' | '.join(cells)} |")
    return "\n".join(text) + "\n"


def _cell(found: list[dict[str, Any]]) -> str:
    """A figure; one that misses its bar is bold and says so."""
    return ", ".join(
        f"**{one['percent']:.1f} missed**" if one["met"] is False else f"{one['percent']:.1f}"
        for one in found
    )


def _bar(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f"{low:g}–{high:g}"
    return f"≥ {low:g}" if low is not None else f"≤ {high:g}" if high is not None else ""


def _kept(options: argparse.Namespace) -> dict[str, Any]:
    """Parts that the file has of the same seed and repeats: a run can be made part by part."""
    if not (options.out and options.out.exists()):
        return {}
    found = json.loads(options.out.read_text(encoding="utf-8"))
    if (found["repeats"], found["seed"]) != (options.repeats, options.seed):
        raise SystemExit(f"{options.out}: of other --repeats or --seed; name another file")
    return {name: found[name] for name in ("seconds", "parts")}


def into_page(page: Path, document: dict[str, Any]) -> None:
    """Replace what stands between the page's marks by the document's tables."""
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise SystemExit(f"{page}: no {BEGIN} and {END} in it")
    done = [name for name in PARTS if name in document["parts"]]
    parts = "\n".join(table(name, document["parts"][name]) for name in done)
    page.write_text(f"{before}{BEGIN}\n\n{parts}\n{END}{after}", encoding="utf-8")


def main() -> int:
    """Simulate, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--part", action="append", choices=PARTS, help="may be repeated")
    parser.add_argument("--repeats", type=int, default=20_000, help="tables of a setting, or fewer")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="JSON")
    parser.add_argument("--from", dest="source", type=Path, help="JSON of a run; nothing is run")
    parser.add_argument("--page", type=Path, help="markdown with the two marks")
    options = parser.parse_args()
    if options.repeats < 50:
        parser.error("--repeats: 50 or more")
    if options.source:
        document = json.loads(options.source.read_text(encoding="utf-8"))
    else:
        document = provenance(options) | {"seconds": {}, "parts": {}} | _kept(options)
        for name in options.part or PARTS:
            began = time.process_time()
            # a part's figures do not depend on which other parts are run
            rng = np.random.default_rng([options.seed, zlib.crc32(name.encode())])
            simulate = importlib.import_module(f"simulations.{name}").simulate
            figures = [figure.document() for figure in simulate(rng, options.repeats)]
            document["parts"][name] = figures
            document["seconds"][name] = round(time.process_time() - began, 1)
            print(table(name, figures), flush=True)
            if options.out:
                text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
                options.out.write_text(text, encoding="utf-8")
    if options.page:
        into_page(options.page, document)
    missed = [f for figures in document["parts"].values() for f in figures if f["met"] is False]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
