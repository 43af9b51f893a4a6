"""The table in docs/reliability.md, from what the fault tests have recorded.

    python -m pytest tests/faults --long --record faults.jsonl
    python -m tests.helpers.fault_table faults.jsonl

The second line writes docs/results/reliability.json (the rows, and what they were measured on) and
puts the table into docs/reliability.md. tests/docs checks that the page has what the file says.
Of several files, a later one's rows of a test replace those of the ones before. The first may be
docs/results/reliability.json itself: what was not run again stays, and the dates say so.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.helpers.environment import ROOT

Proved = Callable[..., None]  # the fixture `proved`
PAGE = ROOT / "docs" / "reliability.md"
FIGURES = ROOT / "docs" / "results" / "reliability.json"
BEGIN, END = "<!-- the fault suite's table -->\n", "<!-- end of the table -->\n"
GROUPS = {
    "kills": "Kills",
    "signals": "Signals",
    "checkpoints": "Checkpoints",
    "training": "Losses and memory",
    "tricks": "Tricks",
    "disks": "Disks",
    "store": "Store and database",
    "runs": "Several runs, long runs, readers",
    "images": "Images",
    "input": "Bad input",
    "safety": "Hostile files",
}


def rendered(figures: dict[str, Any]) -> str:
    """The table in Markdown, a section for each group, with what it was measured on."""
    parts = [f"{figures['when']}, {figures['where']}.\n"]
    for group, title in GROUPS.items():
        rows = [row for row in figures["rows"] if row["group"] == group]
        if not rows:
            continue
        lines = ["| fault | how | times | form | lost |", "| :-- | :-- | --: | :-- | :-- |"]
        for row in sorted(rows, key=lambda row: (row["fault"], row["how"])):
            cells = [row["fault"], row["how"], f"{row['times']:,}", row["form"], row["lost"]]
            lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
        parts.append("\n".join([f"### {title}\n", *lines, ""]))
    return "\n".join(parts)


def added_up(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for those that say the same, which the parameters of one test have recorded."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in rows:
        said = tuple(row[name] for name in ("group", "fault", "how", "form", "lost"))
        same = found.setdefault(said, {**row, "times": 0})
        same["times"] += row["times"]
        same["test"] = min(same["test"], row["test"])
    return list(found.values())


def put(page: str, table: str) -> str:
    """The page with the table between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def main(arguments: Sequence[str]) -> None:
    tested: dict[str, list[dict[str, Any]]] = {}
    when = f"{datetime.now(UTC):%Y-%m-%d}"
    for path in arguments:
        found: dict[str, list[dict[str, Any]]] = defaultdict(list)
        text = Path(path).read_text("utf-8")
        if path.endswith(".json"):
            earlier = json.loads(text)
            rows, when = earlier["rows"], f"{earlier['when'].split()[0]} to {when}"
        else:
            rows = [json.loads(line) for line in text.splitlines()]
        for row in rows:
            found[row["test"].partition("[")[0]].append(row)
        tested |= found
    rows = added_up([row for each in tested.values() for row in each])
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "duckdb"))
    figures = {
        "when": when,
        "where": f"{cores} cores, Python {platform.python_version()}, {versions}",
        "rows": sorted(rows, key=lambda row: (list(GROUPS).index(row["group"]), row["test"])),
    }
    FIGURES.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", "utf-8")
    PAGE.write_text(put(PAGE.read_text("utf-8"), rendered(figures)), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
