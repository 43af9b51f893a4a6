"""`ablate plan`: what would be trained, how long it takes, what the seeds can resolve."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ablate.cli.app import command
from ablate.cli.options import Datasets, Limit, MaxSeeds, Options, Seeds, Settings, Until
from ablate.cli.selection import Selection
from ablate.console.json_view import look
from ablate.console.others_code import tell_functions
from ablate.util.files import check_working_folder

if TYPE_CHECKING:
    from ablate.planning.plan import Plan

HELP = """\
Show a study's rows and trials, the time they take, and what its seeds can resolve. Trains nothing.

Usage: ablate plan STUDY [options]
Example    ablate plan studies/group1.toml --seeds 5

What       --hooks ROW          what acts at each hook of one row, in execution order
           --seeds N            as for run
           --dataset NAME
           --limit N
           --set KEY=VALUE
           --until resolved     what each look can resolve; --max-seeds N [default: 10]
Where      --device NAME        auto, cpu, cuda, cuda:1 [default: auto, all GPUs]
           --store DIR          [env: ABLATE_STORE] [default: ablate-results]
           --data DIR           [env: ABLATE_DATA] [default: ~/.cache/ablate]
Exit: 0 can be run, 2 refused.
"""


@command("plan", HELP)
def plan(
    options: Options,
    study: Annotated[str, typer.Argument(metavar="STUDY")],
    hooks: Annotated[str | None, typer.Option("--hooks")] = None,
    seeds: Seeds = None,
    dataset: Datasets = None,
    limit: Limit = None,
    settings: Settings = None,
    until: Until = None,
    max_seeds: MaxSeeds = None,
    device: Annotated[str, typer.Option("--device")] = "auto",
) -> None:
    """Show it."""
    from ablate.planning.plan import make_plan, row_tricks
    from ablate.planning.plan_text import plan_lines

    check_working_folder()
    output = options.output()
    selection = Selection.of(study, seeds, dataset, limit, settings, options, until, max_seeds)
    loaded = selection.load(bundled_only=options.no_plugins)
    tell_functions(loaded, output)
    made = make_plan(
        loaded,
        store=options.store_path,
        device=device,
        data_root=options.data,
        command=selection.command("plan"),
        bundled_only=options.no_plugins,
        looks=selection.looks(),
    )
    if hooks is not None:
        from ablate.planning.plan_text import hook_lines

        row, _, tricks = row_tricks(made, hooks)
        recipe = made.resolved.trials[row.keys[0]].recipe
        if output.json:
            from ablate.tricks.hooks import Hooks

            acting = {name: list(names) for name, names in Hooks(tricks).acting.items()}
            output.document({"row": row.label, "hooks": acting})
            return
        output.result(*hook_lines(tricks, recipe))
        return
    if output.json:
        output.document(_as_json(made))
        return
    title, *lines = plan_lines(made)
    output.result([(title, "bold")], *lines)
    output.next_steps(_next_steps(made, selection))


def _next_steps(plan: Plan, selection: Selection) -> list[tuple[str, str]]:
    from ablate.data.catalogue import dataset_info

    steps = []
    for name in dict.fromkeys(table.dataset for table in plan.resolved.tables):
        refs = [t.dataset for t in plan.resolved.trials.values() if t.dataset.name == name]
        if (
            refs
            and refs[0].decoder == "missing"
            and any(edition.url for edition in dataset_info(name).editions.values())
        ):
            steps.append(("get the data", f"ablate datasets fetch {name}"))
    if not steps and (plan.work.to_train or plan.coming):
        steps.append(("train it", selection.suggestion("run")))
    return steps


def _as_json(plan: Plan) -> dict[str, Any]:
    work, resolved = plan.work, plan.resolved
    return {
        "study": resolved.name,
        "recipe": resolved.headline,
        "seeds": list(resolved.seeds),
        "trials": len(resolved.order) + len(plan.coming),
        "done": list(work.done),
        "shared": dict(work.shared),
        "continuing": dict(work.continuing),
        "new": list(work.new),
        "coming": len(plan.coming),
        "look": look(resolved),
        "seconds": plan.seconds,
        "timed_from": plan.timed_from,
        "devices": [device.name for device in plan.devices],
        "warnings": [*resolved.warnings, *plan.notes],
        "code": list(plan.code),
        "near_misses": [asdict(near) for near in plan.near],
        "smallest_detectable": [
            {**asdict(one), "by_seeds": dict(one.by_seeds)} for one in plan.resolutions
        ],
        "tables": [
            {
                "ablation": table.ablation,
                "dataset": table.dataset,
                "column": table.column,
                "tuning": table.tuning.model_dump(mode="json") if table.tuning else None,
                "rows": [
                    {
                        "row": row.label,
                        "changes": plan.changes.get((t, r), row.changes),
                        "keys": [
                            None if is_open else key
                            for key, is_open in zip(row.keys, row.open, strict=True)
                        ],
                        "tuning": [list(keys) for keys in row.tuning],
                        "chosen": list(row.chosen),
                        "states": [work.mark(key) for key in row.keys],
                    }
                    for r, row in enumerate(table.rows)
                ],
            }
            for t, table in enumerate(resolved.tables)
        ],
    }
