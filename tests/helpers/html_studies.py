"""Made-up studies for the HTML report: tables, and the epochs of their trials."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ablate.report import ReportTable, build_tables
from tests.helpers.reference_tables import LABELS, NETTE, SECONDS, WOOF
from tests.helpers.report_studies import (
    GROUP1,
    Result,
    State,
    cumulative,
    key,
    results,
    study,
    table,
)

Epochs = Callable[[str], list[dict[str, float]]]
Made = tuple[list[ReportTable], Epochs]

HOSTILE = (
    "<script>alert(1)</script>",
    '" onload=alert(1) x="',
    "a\u202eb\u0007</style><img src=x>",
    "a_very_long_trick_name_that_someone_thought_was_a_good_idea",
)


def epochs_of(done: Mapping[str, Result], count: int = 20, metric: str = "top1") -> Epochs:
    """Curves that end in each trial's result: up in steps, with the seed's noise."""

    def read(key: str) -> list[dict[str, float]]:
        if key not in done:
            return []
        end, noise = done[key].final[metric], random.Random(key)
        found = []
        for epoch in range(1, count + 1):
            left = 1 - epoch / count
            jump = 0.12 if epoch < count * 0.5 else 0.01 if epoch < count * 0.75 else 0.0
            away = jump + 0.5 * left**4 + noise.gauss(0, 0.012) * (left > 0) * (0.3 + left)
            down = away if metric == "loss" else -away
            found.append({"epoch": float(epoch), metric: end + down})
        found[-1][metric] = end
        return found

    return read


def uneven_times() -> dict[str, list[float]]:
    """`SECONDS` of three seeds that differ by 2% and have them as geometric means."""
    return {
        label: [time * 1.02 ** ((place + seed) % 3 - 1) for seed in range(3)]
        for place, (label, time) in enumerate(SECONDS.items())
    }


def two_data_sets() -> Made:
    """Five rows on two data sets; on the second a trial ran out of memory and one is new."""
    top5 = dict(zip(LABELS, (98.7, 98.8, 98.7, 98.9, 99.1), strict=True))
    done = results(NETTE, top5=top5, seconds=uneven_times())
    done |= results(WOOF, top5=top5, seconds=uneven_times(), dataset="imagewoof")
    lost = key("+ zero_gamma", 1, "imagewoof")
    new = key("+ zero_gamma", 2, "imagewoof")
    del done[lost], done[new]
    states = {lost: State("oom", "out of memory; 0.9 GiB free, pid 4410 holds 19.8 GiB")}
    made = study(table(GROUP1), table(GROUP1, dataset="imagewoof"))
    return build_tables(made, done, states), epochs_of(done)


def clear(seeds: int = 5) -> Made:
    """Two data sets with a gain, a loss, an equivalent row and unresolved ones."""
    noise = random.Random(3)
    means = {
        "imagenette": (89.7, 90.1, 90.05, 90.4, 91.4),
        "imagewoof": (77.9, 79.1, 79.3, 77.9, 80.1),
    }
    done: dict[str, Result] = {}
    for dataset, line in means.items():
        luck = [noise.gauss(0, 0.12) for _ in range(seeds)]
        values = {
            label: tuple(mean + luck[s] + noise.gauss(0, 0.16) for s in range(seeds))
            for label, mean in zip(LABELS, line, strict=True)
        }
        top5 = dict.fromkeys(LABELS, 98.7)
        found = results(values, top5=top5, seconds=SECONDS, dataset=dataset)
        done |= {
            key: replace(
                r, summary={"examples": 3925, "parameters": 23_528_522, "macs": 2_105_000_000}
            )
            for key, r in found.items()
        }
    tables = [table(GROUP1, seeds, dataset=dataset) for dataset in means]
    changes = {
        "+ warmup": "schedule: step → 5 epochs linear, then step",
        "+ fp16": "precision: fp32 → fp16",
        "+ mixup": "batches: plain → mixup, alpha 0.2",
        "+ zero_gamma": "init: γ 1 → 0 in 16 batch norms; lr 0.1 → 0.2",
    }
    tables = [
        t.model_copy(
            update={
                "rows": tuple(
                    r.model_copy(update={"changes": changes.get(r.label, "")}) for r in t.rows
                )
            }
        )
        for t in tables
    ]
    return build_tables(study(*tables), done, {}), epochs_of(done)


def one_seed() -> Made:
    values = dict(zip(LABELS, ((78.2,), (79.0,), (79.12,), (77.93,), (80.6,)), strict=True))
    done = results(values, seconds=SECONDS)
    return build_tables(study(table(GROUP1, 1)), done, {}), epochs_of(done)


def hostile() -> Made:
    """Names that are markup, that leave an attribute, that turn text around, that are long."""
    rows = cumulative(*HOSTILE)
    values = {row[0]: (70.0 + i, 71.2 + 1.1 * i, 70.3 + i) for i, row in enumerate(rows)}
    done = results(values, seconds={row[0]: 8.0 - i for i, row in enumerate(rows)})
    lost = key(rows[2][0], 1)
    del done[lost]
    states = {lost: State("failed", "<b>boom</b> \u202e\x1b[2J " + "x" * 120)}
    made = study(table(rows), name="<i>evil</i>", command='ablate run "<evil>.toml"')
    made = made.model_copy(update={"headline": "<u>resnet</u> · \u2066x"})
    return build_tables(made, done, states), epochs_of(done)


def many(rows: int = 30, seeds: int = 5, count: int = 120) -> Made:
    """A large table with long training."""
    noise = random.Random(1)
    labels = cumulative(*(f"trick_{i:02d}" for i in range(1, rows)))
    values = {
        row[0]: tuple(70 + 0.4 * i + noise.gauss(0, 0.3) for _ in range(seeds))
        for i, row in enumerate(labels)
    }
    done = results(values, seconds={row[0]: 8 + 0.05 * i for i, row in enumerate(labels)})
    return build_tables(study(table(labels, seeds), name="many"), done, {}), epochs_of(done, count)


def lower_loss() -> Made:
    """A metric that falls, with a diverged seed, an equal row and exact agreement nowhere."""
    rows = cumulative("warmup", "same", "wild", "cosine")
    values = {
        "baseline": (60.0, 61.0, 60.4),
        "+ warmup": (62.0, 62.8, 62.5),
        "+ wild": (61.0, math.nan, 61.2),
        "+ cosine": (65.0, 66.0, 65.2),
    }
    done = results(values)
    made = study(table(rows, keys={"+ same": "+ warmup"}), metric="loss", margin=0.01)
    return build_tables(made, done, {}), epochs_of(done, metric="loss")


def against(kind: str, reference: str, label: Callable[[str], str]) -> Made:
    """A table of rows that are each compared with the first one."""
    names = [label(trick) for trick in ("warmup", "mixup", "cosine")]
    rows = [("baseline", "baseline", None), *((name, "branch", 0) for name in names)]
    values = {row[0]: (80.0 + i, 80.4 + i, 80.1 + 1.1 * i) for i, row in enumerate(rows)}
    done = results(values)
    made = study(table(rows, kind=kind, reference=reference, total=False))
    return build_tables(made, done, {}), epochs_of(done)


def transposed() -> Made:
    """Models as rows, each with a baseline and two steps."""
    rows = cumulative("efficient", "refined")
    tables, done = [], {}
    for i, model in enumerate(("model resnet50", "model inception_v3", "model mobilenet")):
        values = {
            row[0]: (70.0 + i + 2 * j, 70.4 + i + 2 * j, 70.2 + i + 2.1 * j)
            for j, row in enumerate(rows)
        }
        done |= results(values, dataset="imagenet", column=model)
        tables.append(table(rows, dataset="imagenet", column=model, transpose=True))
    return build_tables(study(*tables, name="table5"), done, {}), epochs_of(done)


def alone() -> Made:
    """A baseline and nothing else."""
    done = results({"baseline": (70.0, 71.0, 70.4)})
    return build_tables(study(table(cumulative())), done, {}), epochs_of(done)


def exact() -> Made:
    """Seeds whose differences agree to the last bit, so that the noise is unknown."""
    done = results({"baseline": (70.0, 70.0), "+ warmup": (70.0, 70.0)})
    return build_tables(study(table(cumulative("warmup"), 2)), done, {}), epochs_of(done)


def two_ablations() -> Made:
    """A cumulative table and a leave-one-out of the same study."""
    steps = table(cumulative("warmup", "mixup"), ablation="main")
    rows = [("warmup + mixup", "baseline", None)]
    rows += [(f"without {trick}", "branch", 0) for trick in ("warmup", "mixup")]
    left = table(rows, ablation="left out", kind="leave_one_out", reference="full", total=False)
    done = results({"baseline": (80.0, 80.5, 80.1), "+ warmup": (81.0, 81.9, 81.4)})
    done |= results({"+ mixup": (82.0, 82.2, 82.6), "warmup + mixup": (82.0, 82.2, 82.6)})
    done |= results({"without warmup": (80.4, 80.9, 81.0), "without mixup": (81.0, 81.9, 81.4)})
    return build_tables(study(steps, left), done, {}), epochs_of(done)


ALL: Mapping[str, Callable[[], Made]] = {
    "two_data_sets": two_data_sets,
    "clear": clear,
    "one_seed": one_seed,
    "hostile": hostile,
    "lower_loss": lower_loss,
    "one_at_a_time": lambda: against("one_at_a_time", "baseline", lambda t: f"+ {t}"),
    "leave_one_out": lambda: against("leave_one_out", "full", lambda t: f"without {t}"),
    "transposed": transposed,
    "alone": alone,
    "exact": exact,
    "two_ablations": two_ablations,
}


def together(names: Sequence[str]) -> Made:
    """Several studies one after another."""
    tables: list[ReportTable] = []
    readers: list[Epochs] = []
    for name in names:
        made, read = ALL[name]()
        tables += [replace(t, study=f"{t.study} {name}") for t in made]
        readers.append(read)
    return tables, lambda key: next((found for read in readers if (found := read(key))), [])
