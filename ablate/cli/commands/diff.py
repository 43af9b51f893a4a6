"""`ablate diff`: two rows or two trials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ablate.cli.app import command
from ablate.cli.options import Options
from ablate.errors import AblateError
from ablate.util.text import aligned, pad, width

if TYPE_CHECKING:
    from ablate.console.output import Line, Output
    from ablate.report.tables.diff import (
        Difference,
        ImageTest,
        MetricDifference,
        Side,
        TimeDifference,
    )
    from ablate.store.store import Store

HELP = """\
Compare two rows or two trials: only the settings that differ, then the metrics.

Usage: ablate diff A B [options]
Example    ablate diff group1:fp16 group1:mixup --dataset imagenette

A and B are study:row (a trick's name, or a number from 0), study:ablation:row where several
ablations have such a row, study:row/dataset/seed for one trial, or the start of a trial's key. They
may be of two studies. The interval is of this comparison alone and not corrected for others, and no
verdict is given: ablate report has those.

           --dataset NAME       only this one, where both stand on several
           --mcnemar            of two trials: the exact test over their test images, which compares
                                two checkpoints and not their recipes
           --store DIR          [env: ABLATE_STORE] [default: ablate-results]
"""


@command("diff", HELP)
def diff(
    options: Options,
    a: Annotated[str, typer.Argument(metavar="A")],
    b: Annotated[str, typer.Argument(metavar="B")],
    dataset: Annotated[str | None, typer.Option("--dataset")] = None,
    mcnemar: Annotated[bool, typer.Option("--mcnemar")] = False,
) -> None:
    """Compare them."""
    from ablate.report.tables.diff import differ, image_test, pairs
    from ablate.report.tables.predictions import Stored
    from ablate.store.store import Store

    output = options.output()
    store = Store.open(options.store_path, create=False)
    found: list[Difference] = []
    tests: list[ImageTest | None] = []
    for one, other in pairs(_sides(store, a), _sides(store, b), dataset):
        states = store.states(_keys(one) | _keys(other))
        statuses = {key: state.status for key, state in states.items()}
        results = store.results(states)
        found.append(differ(one, other, results, statuses))
        hits = Stored(store.path, results).hits
        tests.append(image_test(found[-1], hits) if mcnemar else None)
    if output.json:
        documents = [_document(each, test) for each, test in zip(found, tests, strict=True)]
        output.document({"a": a, "b": b, "differences": documents})
        return
    for number, (each, test) in enumerate(zip(found, tests, strict=True)):
        if len(found) > 1:
            side = each.sides[0]
            title = ", ".join(part for part in (side.dataset, side.column) if part)
            output.result(*([""] if number else []), [(title, "bold")])
        _tell(each, test, output)


def _sides(store: Store, address: str) -> list[Side]:
    """What an address names, one for each table that has it. Raises AblateError."""
    from ablate.report.tables.address import addressed
    from ablate.report.tables.diff import Side
    from ablate.session.lookup import from_store

    if ":" not in address:
        if address in store.studies():
            raise AblateError(
                f"'{address}' is a study; diff takes rows",
                hint=f"ablate diff {address}:0 {address}:1",
            )
        key = store.find(address)
        trial = store.trial(key)
        if trial is None:
            raise AblateError(f"{key[:6]}: its definition cannot be read")
        name = f"{key[:6]} {store.label(key)}"
        return [Side(name, trial.dataset.name, "", {trial.seed: key}, {key: trial})]
    resolved = from_store(address.partition(":")[0], store).resolved
    return [
        Side(
            address,
            place.table.dataset,
            place.table.column,
            place.keys,
            resolved.trials,
            place,
            resolved.metric,
        )
        for place in addressed(resolved, address)
    ]


def _keys(side: Side) -> dict[str, None]:
    """The side's trials, and those of its table, which the fit needs."""
    keys = dict.fromkeys(side.keys.values())
    if side.place is not None:
        keys |= dict.fromkeys(key for row in side.place.table.rows for key in row.keys)
    return keys


# ------------------------------------------------------------------------------------ drawing


def _tell(found: Difference, test: ImageTest | None, output: Output) -> None:
    rows: list[tuple[str, str]] = _settings(found, output)
    rows += [(each.metric.heading, _metric(each, found)) for each in found.metrics]
    if time := _time(found.time):
        rows.append(("time/epoch", time))
    if test is not None:
        rows.append(("images", _images(test)))
    if found.recorded:
        told = (f"{name} {then} → {now}" for name, (then, now) in found.recorded.items())
        rows.append(("recorded", " · ".join(told)))
    wide = max([11, *(width(head) for head, _ in rows)]) + 2
    lines: list[Line] = [f"{pad(head, wide)}{text}".rstrip() for head, text in rows]
    output.result(*lines)
    output.note(*([(text, "dim")] for text in (*_caption(found), *found.notes)))


def _settings(found: Difference, output: Output) -> list[tuple[str, str]]:
    equal = "every other setting is equal" if found.recorded else "everything else is equal"
    if found.same:
        return [("settings", "the same trials")]
    if not found.settings:
        return [("settings", f"none differs: {equal}")]
    lines = aligned([[change.name, change.text] for change in found.settings], gap=2)
    room = min(output.out.width, 100) - 13
    last = lines[-1]
    if width(last) + width(equal) + 4 <= room:
        lines[-1] = last + " " * (room - width(last) - width(equal)) + equal
    else:
        lines.append(equal)
    return [("settings" if not i else "", line) for i, line in enumerate(lines)]


def _metric(each: MetricDifference, found: Difference) -> str:
    from ablate.report.numbers import fixed, signed

    scale, decimals = each.metric.scale, each.decimals
    values = ("–" if v is None else fixed(v * scale, decimals) for v in (each.before, each.after))
    text = " → ".join(values)
    if each.delta is None:
        return text
    text += f"   Δ {signed(each.delta * scale, decimals)}"
    effect = each.effect
    if effect is not None and effect.low is not None and effect.high is not None:
        low, high = (signed(bound * scale, decimals) for bound in (effect.low, effect.high))
        return f"{text} [{low}, {high}], unadjusted 95%, {_seeds(each)}"
    if each.band is not None:
        place = "inside" if abs(each.delta) <= each.band else "outside"
        return f"{text}, {place} ±{fixed(each.band * scale, decimals)}, seed {each.shared[0]} alone"
    return f"{text}, {_seeds(each)}"


def _images(test: ImageTest) -> str:
    p = "< .001" if test.p < 0.001 else f"= {test.p:.3f}".replace("0.", ".", 1)
    return (
        f"{test.only_before:,} right in the first only, {test.only_after:,} in the second only, of "
        f"{test.images:,}; McNemar's exact p {p}: two checkpoints, not two recipes"
    )


def _seeds(each: MetricDifference) -> str:
    number = len(each.shared)
    return f"{number} shared seed{'s' * (number != 1)}"


def _time(time: TimeDifference) -> str:
    from ablate.report.numbers import Clock, ratio

    if time.why:
        return f"–   {time.why}"
    if time.before is None or time.after is None:
        return ""
    clock = Clock.of([time.before, time.after])
    change = f" ({ratio(time.ratio)})" if time.ratio else ""
    return f"{clock.text(time.before)} → {clock.text(time.after)}{change}"


def _caption(found: Difference) -> list[str]:
    """How the intervals were made, or why there are none."""
    from ablate.report.numbers import degrees_of, fixed

    if found.same:
        return []
    if not found.comparable:
        return ["Other test images: no difference is computed."]
    first = next((each for each in found.metrics if each.delta is not None), None)
    if first is None:
        return ["No seed is shared: no difference is computed."]
    if first.effect is not None:
        if first.effect.low is None:
            return ["No interval: the seeds agree exactly, so the noise is unknown."]
        how = {
            "moderated": "their own seeds and the noise of all rows of their table",
            "paired": "the paired differences of the shared seeds",
        }[first.method]
        return [
            f"Interval from {how} ({degrees_of([first.effect.df])} df); of this comparison alone, "
            "no verdict."
        ]
    if first.band is None:
        return ["One shared seed: no interval."]
    band = fixed(first.band * first.metric.scale, first.decimals)
    return [
        f"One shared seed: no interval. Training the same recipe twice differs by up to ±{band}"
        f"{first.metric.points} (95%; sd ≈ √(error/2N), N = {found.examples or 0:,})."
    ]


def _document(found: Difference, test: ImageTest | None) -> dict[str, Any]:
    return {
        "dataset": found.sides[0].dataset,
        "column": found.sides[0].column,
        "sides": [
            {
                "name": side.name,
                "dataset": side.dataset,
                "trials": [{"seed": seed, "key": key} for seed, key in side.keys.items()],
            }
            for side in found.sides
        ],
        "same": found.same,
        "comparable": found.comparable,
        "settings": [vars(change) for change in found.settings],
        "recorded": {name: list(pair) for name, pair in found.recorded.items()},
        "examples": found.examples,
        "metrics": [
            {
                "metric": each.metric.name,
                "before": each.before,
                "after": each.after,
                "delta": each.delta,
                "method": each.method or None,
                "band": each.band,
                "shared_seeds": list(each.shared),
                "values": [dict(values) for values in each.values],
                **{
                    name: getattr(each.effect, name, None)
                    for name in ("se", "df", "low", "high", "p")
                },
            }
            for each in found.metrics
        ],
        "epoch_seconds": {
            "before": found.time.before,
            "after": found.time.after,
            **{name: getattr(found.time.ratio, name, None) for name in ("ratio", "low", "high")},
            "why": found.time.why,
        },
        "diverged": {
            "before": vars(found.diverged[0]) if found.diverged[0] else None,
            "after": vars(found.diverged[1]) if found.diverged[1] else None,
            "p": found.diverged_p,
        },
        "mcnemar": None if test is None else vars(test),
        "notes": list(found.notes),
    }
