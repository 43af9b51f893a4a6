"""Tables whose rows have a cost: parameters and multiply-adds said beforehand."""

from __future__ import annotations

from dataclasses import replace

from ablate.report import build_tables
from tests.helpers.reference_tables import NETTE, SECONDS
from tests.helpers.report_studies import GROUP1, results, study, table

IMAGES = 9_408  # 147 batches of 64
V1 = (25_557_032, 3_857_973_248)
D = (25_576_264, 4_329_162_752)


def costly(
    costs=None,
    *,
    rows=GROUP1,
    values=None,
    images=IMAGES,
    seconds=None,
    seeds=3,
    machine=None,
    **more,
):
    """costs: (parameters, macs) by row label, V1's for the others."""
    values = values or {label: line[:seeds] for label, line in NETTE.items()}
    done = results(values, top5=dict.fromkeys(values, 98.7), seconds=seconds or SECONDS)
    for (label, seed), key in zip(
        [(label, seed) for label, line in values.items() for seed in range(len(line))],
        list(done),
        strict=True,
    ):
        given = (costs or {}).get(label, V1)
        parameters, macs = given[seed] if isinstance(given, list) else given
        one = done[key]
        done[key] = replace(
            one,
            summary={**one.summary, "parameters": parameters, "macs": macs},
            epochs=[{**epoch, "images": images} for epoch in one.epochs],
            environment={**one.environment, **((machine or {}).get(label, {}))},
        )
    return build_tables(study(table(rows, seeds)), done, {}, **more)


def uneven():
    return costly({"+ zero_gamma": D})
