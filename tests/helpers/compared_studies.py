"""Made-up studies to stand beside the paper: tricks, batch sizes and models as a plan has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ablate.core.resolved_study import ResolvedStudy, Table
from ablate.core.trial import TrickSpec
from ablate.report import build_tables
from ablate.report.published.attach import beside_paper
from tests.helpers.report_studies import GROUP1, results, study, table

RECIPE = ("xavier_init", "color_jitter", "pca_lighting")
EFFICIENT = ("linear_scaling", "warmup", "zero_gamma", "no_bias_decay", "fp16")
VARIANT = ("resnet_b", "resnet_c", "resnet_d")

Rows = Sequence[tuple[str, str, int | None]]


def stacked(first: str, *steps: str, branches: Sequence[str] = ()) -> Rows:
    """A first row, steps on one another, and branches on the last step."""
    rows: list[tuple[str, str, int | None]] = [(first, "baseline", None)]
    rows += [(f"+ {step}", "step", i) for i, step in enumerate(steps)]
    last = len(rows) - 1
    return rows + [(f"+ {branch}", "branch", last) for branch in branches]


def planned(
    tables: Sequence[Table],
    *,
    name: str,
    base: Sequence[str] = (),
    bundles: Mapping[str, Sequence[str]] | None = None,
    aliases: Mapping[str, str] | None = None,
    params: Mapping[str, dict[str, Any]] | None = None,
    recipes: Mapping[str, dict[str, Any]] | None = None,
    recipe: Mapping[str, Any] | None = None,
) -> ResolvedStudy:
    """A study whose trials have the tricks that the rows' labels name, on top of `base`.

    bundles: members by alias. aliases: trick by alias. params: by trick. recipes: settings by row
    label, recipe: of every row; a table's column "batch_size 256" is one as well.
    """
    made = []
    trials = dict(study(*tables, name=name).trials)
    for each in tables:
        rows = []
        for row in each.rows:
            named = [part for label in row.tricks for part in label.split(" + ")]
            leaves = [leaf for part in named for leaf in (bundles or {}).get(part, (part,))]
            tricks = tuple(dict.fromkeys((*base, *leaves)))
            rows.append(row.model_copy(update={"tricks": tricks}))
            home = {leaf: bundle for bundle, members in (bundles or {}).items() for leaf in members}
            specs = tuple(
                TrickSpec(
                    name=(aliases or {}).get(alias, alias),
                    label=alias,
                    source="ablate-study",
                    params=(params or {}).get((aliases or {}).get(alias, alias), {}),
                    behaviour="v1",
                    bundle=home.get(alias, ""),
                )
                for alias in tricks
            )
            column = each.column.split(" ")
            settings = {**(recipe or {}), **(recipes or {}).get(row.label, {})}
            if column[0] == "batch_size":
                settings["batch_size"] = int(column[1])
            if column[0] == "model":
                settings["model"] = column[1]
            for key in row.keys:
                changed = trials[key].recipe.model_copy(update=settings)
                trials[key] = trials[key].model_copy(update={"recipe": changed, "tricks": specs})
        made.append(each.model_copy(update={"rows": tuple(rows)}))
    return study(*made, name=name).model_copy(update={"trials": trials})


def compared(resolved: ResolvedStudy, values: Mapping[str, Sequence[float]], **more: Any) -> Any:
    """The study's tables beside the paper's, all with the same results."""
    done: dict[str, Any] = {}
    for each in resolved.tables:
        done |= results(values, dataset=each.dataset, column=each.column, **more)
    return beside_paper(resolved, build_tables(resolved, done, {}))


def spread(rows: Rows, seeds: int = 3) -> dict[str, tuple[float, ...]]:
    """Some results for rows that only have to be there."""
    return {
        label: tuple(80 + i + 0.1 * ((i * 7 + s * 3) % 5) for s in range(seeds))
        for i, (label, _, _) in enumerate(rows)
    }


ROWS = stacked("linear_scaling", "warmup", "zero_gamma", "no_bias_decay", "fp16")
# Made up so that the reference transcript's numbers come out.
VALUES = {
    "linear_scaling": (87.3, 87.32, 87.65, 87.05, 87.2),
    "+ warmup": (88.14, 88.0, 88.14, 88.25, 88.77),
    "+ zero_gamma": (89.22, 88.72, 89.31, 89.36, 88.79),
    "+ no_bias_decay": (89.4, 88.53, 89.01, 89.26, 88.69),
    "+ fp16": (88.97, 89.21, 88.99, 88.44, 88.68),
}


def table4(seeds=5, **more):
    column = "batch_size 1024"
    resolved = planned(
        [table(ROWS, seeds, column=column)],
        name="imagenette/table4",
        base=(*RECIPE, "linear_scaling"),
        recipe={"epochs": 20},
    )
    values = {label: line[:seeds] for label, line in VALUES.items()}
    return compared(resolved, values, **more)


def table5(**costs):
    rows = stacked("efficient", "resnet_b", "resnet_c", "resnet_d")
    resolved = planned([table(rows)], name="table5", base=(*RECIPE, *EFFICIENT))
    return compared(resolved, spread(rows), summary={"examples": 3925, **costs})


def tricks():
    return compared(planned([table(GROUP1)], name="group1"), spread(GROUP1))
