"""Where a table's numbers come from: recipe, machines, versions; and what may not be mixed."""

from __future__ import annotations

from collections.abc import Mapping

from ablate.core.resolved_study import ResolvedStudy, Table
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
        settings = (recipe.model, f"batch {recipe.batch_size:,}")
        settings += (f"{recipe.image_size} px",) if recipe.image_size else ()
        settings += (f"{trials[0].numerics.profile} numerics",)
    return Provenance(
        headline=resolved.headline,
        command=resolved.command,
        settings=settings,
        epochs=epochs.pop() if len(epochs) == 1 else None,
        machines=tuple((len(where), name) for name, where in sorted(places.items())),
        torch=_versions(done, "torch"),
        ablate=_versions(done, "ablate"),
    )


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
