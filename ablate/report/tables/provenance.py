"""Where a table's numbers come from: recipe, machines, versions; and what may not be mixed."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ablate.core.resolved_study import ResolvedStudy, Table, Tuning
from ablate.errors import AblateError
from ablate.report.model import Provenance, TrialResultLike


def of(resolved: ResolvedStudy, table: Table, results: Mapping[str, TrialResultLike]) -> Provenance:
    """The recipe of the baseline, and the machines of every result in the table."""
    trials = [resolved.trials[key] for row in table.rows for key in row.keys]
    done = [results[key] for row in table.rows for key in row.keys if key in results]
    places: dict[str, set[tuple[str, str]]] = {}
    for result in done:
        found = result.environment
        name = " ".join(str(found.get("device_name", "unknown")).split())
        places.setdefault(name, set()).add((str(found.get("host")), str(found.get("device"))))
    epochs = {trial.recipe.epochs for trial in trials}
    settings: tuple[str, ...] = ()
    if trials:
        recipe = trials[0].recipe
        said = {"model": recipe.model, "batch_size": f"batch {recipe.batch_size:,}"}
        if recipe.image_size:
            said["image_size"] = f"{recipe.image_size} px"
        tuned = table.tuning.settings if table.tuning else ()
        settings = tuple(text for name, text in said.items() if name not in tuned)
        settings += (f"{trials[0].numerics.profile} numerics",)
    return Provenance(
        headline=_headline(resolved.headline, table.tuning),
        command=resolved.command,
        settings=settings,
        epochs=epochs.pop() if len(epochs) == 1 else None,
        machines=tuple((len(where), name) for name, where in sorted(places.items())),
        torch=_versions(done, "torch"),
        ablate=_versions(done, "ablate"),
        limit=trials[0].dataset.limit if trials else None,
    )


# How the headline says a setting that may be tuned.
_SAID = {
    "epochs": re.compile(r"\d+ epochs?"),
    "batch_size": re.compile(r"batch \d+"),
    "lr": re.compile(r"lr \S+"),
    "image_size": re.compile(r"[\d/]+ px"),
}


def _headline(headline: str, tuning: Tuning | None) -> str:
    """The study's; of a tuned table what was chosen among stands in the place of what the file
    says: "lr tuned of 0.3, 1, 3 × 0.1 by each seed"."""
    if tuning is None:
        return headline
    by = "once for all seeds" if tuning.once else "by each seed"
    told = f"{tuning.words.replace(' chosen of ', ' tuned of ', 1)} {by}"
    model, *parts = headline.split(" · ")
    tuned = [_SAID[name] for name in tuning.settings if name in _SAID]
    parts = [told if any(said.fullmatch(part) for said in tuned) else part for part in parts]
    parts = parts if told in parts else [*parts, told]
    return " · ".join(dict.fromkeys(["models" if "model" in tuning.settings else model, *parts]))


def mixed(table: Table, results: Mapping[str, TrialResultLike]) -> list[str]:
    """Versions that differ within a table."""
    done = [results[key] for row in table.rows for key in row.keys if key in results]
    found = {name: _versions(done, name) for name in ("torch", "ablate")}
    return [
        f"trials of {name} {' and '.join(versions)}"
        for name, versions in found.items()
        if len(versions) > 1
    ]


def refuse_mixed_numerics(resolved: ResolvedStudy, table: Table) -> None:
    """Raise AblateError where trials of one table were computed in different ways."""
    by_numerics: dict[str, str] = {}
    for row in table.rows:
        for key in row.keys:
            by_numerics.setdefault(resolved.trials[key].numerics.model_dump_json(), key)
    if len(by_numerics) > 1:
        first, second = list(by_numerics.values())[:2]
        raise AblateError(
            f"{table.ablation} on {table.dataset} mixes numerics: {first[:6]} and {second[:6]}",
            hint="set study.numerics, and keep to one kind of device: --device cpu or cuda",
        )


def _versions(done: list[TrialResultLike], name: str) -> tuple[str, ...]:
    return tuple(sorted({str(r.environment[name]) for r in done if r.environment.get(name)}))
