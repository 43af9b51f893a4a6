"""A plan as lines: rows, trials, time, what the seeds can resolve, and what acts at each hook."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ablate.core.metrics import TOP1, metric_named
from ablate.core.recipe import Recipe
from ablate.hookspecs import HOOKS
from ablate.planning.power import Resolution
from ablate.planning.work import Mark
from ablate.tricks.base import Trick
from ablate.tricks.hooks import Hooks
from ablate.util import devices as machine
from ablate.util.text import DOTS, aligned, count, duration, pad, width

if TYPE_CHECKING:
    from ablate.core.resolved_study import ResolvedStudy, Table
    from ablate.planning.plan import Plan


_MOST_SEEDS = 20
_CHANGES = {
    "above": "changes from the row above",
    "baseline": "changes from the baseline",
    "full": "changes from the full set",
}


def plan_lines(plan: Plan) -> list[str]:
    """All of it, the answer first."""
    resolved = plan.resolved
    numerics = next(iter(resolved.trials.values())).numerics.profile
    lines = [
        f"{resolved.name} · {resolved.headline} · {_seeds(resolved)} · {numerics}",
        f"store {plan.store}",
    ]
    several = len({(table.ablation, table.column) for table in resolved.tables}) > 1
    for group in groups(resolved.tables):
        first = resolved.tables[group[0]]
        title = " · ".join(part for part in (first.ablation, first.column) if part)
        lines += ["", *([title] if several else []), *_rows(plan, group)]
    lines += ["", *_counts(plan), *_tuning(plan), *_shared_rows(resolved), _time(plan)]
    lines += [f"! {note}" for note in (*resolved.warnings, *plan.notes)]
    lines += [f"runs code of {code}" for code in plan.code]
    lines += [_near(*group) for group in _near_groups(plan)]
    return [*lines, *_resolutions(plan), *_order(plan)]


def _order(plan: Plan) -> list[str]:
    """Before anything is seen: whether a cumulative table's order is a question left open.

    Afterwards another table would be another chance to claim something.
    """
    kinds = {table.kind for table in plan.resolved.tables}
    if plan.work.done or kinds != {"cumulative"}:
        return []
    new = 0
    for table in plan.resolved.tables:
        steps = sum(row.role == "step" for row in table.rows)
        if steps < 3:
            return []
        new += (steps - 1) * len(table.seeds)  # without the last trick is the row above
    return [
        f'Does the order matter? [[ablation]] kind = "leave_one_out" beside it tells, with at most '
        f"{new:,} more trials and comparisons of its own."
    ]


def _seeds(resolved: ResolvedStudy) -> str:
    seeds = resolved.seeds
    if resolved.until is not None:
        counts = ", ".join(str(count) for count, _ in resolved.until.looks)
        return f"until resolved, looks at {counts} seeds"
    return f"seeds {seeds[0]}–{seeds[-1]}" if len(seeds) > 1 else f"seed {seeds[0]}"


def _rows(plan: Plan, group: list[int]) -> list[str]:
    tables = [plan.resolved.tables[i] for i in group]
    columns = [table.dataset for table in tables]
    rows = [["", "row", _CHANGES[tables[0].reference], *columns]]
    for r, row in enumerate(tables[0].rows):
        same = f"= row {row.same_as}" if row.same_as is not None else ""
        changes = plan.changes.get((group[0], r), row.changes)
        if len(row.factors) > 1 and not tables[0].judges_rows:
            changes = ""  # its label names the entries, whose own rows say what each changes
        changes = changes or same
        cells = [_marks([plan.work.mark(key) for key in table.rows[r].keys]) for table in tables]
        rows.append([str(r), row.label, changes, *cells])
    head, *lines = aligned(rows)
    rule = "─" * max(width(line) for line in (head, *lines))
    return [head, rule, *lines]


def _marks(marks: list[Mark]) -> str:
    if len(marks) > _MOST_SEEDS:
        done = sum(mark in ("done", "shared") for mark in marks)
        return f"{done}/{len(marks)}"
    return "".join(DOTS.get(mark, "✗") for mark in marks)


def _counts(plan: Plan) -> list[str]:
    work, resolved = plan.work, plan.resolved
    failed = {key for key in resolved.order if work.mark(key) == "failed"}
    running = sum(work.mark(key) == "running" for key in resolved.order)
    # A tried setting that diverged has answered and is not trained again: failed, not done.
    parts = [f"● {len(set(work.done) - failed) - len(work.shared)} done"]
    if work.shared:
        parts.append(f"◆ {len(work.shared)} shared ({_origin(plan)})")
    if running:
        parts.append(f"◐ {running} running")
    if failed:
        parts.append(f"✗ {len(failed)} failed")
    if work.continuing:
        parts.append(f"{len(work.continuing)} begun")
    parts.append(f"○ {len(work.new) + len(plan.coming)} new")
    total = len(resolved.order) + len(plan.coming)
    looks = " for the first look" if resolved.until is not None else ""
    return [f"{total:,} trial{'s' * (total != 1)}{looks}: {', '.join(parts)}"]


def _tuning(plan: Plan) -> list[str]:
    """What is chosen, and how many trials that takes: the same number for every row and seed."""
    ablations: dict[str, list[Table]] = {}
    for table in plan.resolved.tables:
        if table.tuning is not None:
            ablations.setdefault(table.ablation, []).append(table)
    several = len({table.ablation for table in plan.resolved.tables}) > 1
    lines = []
    for name, tables in ablations.items():
        tuning = tables[0].tuning
        assert tuning is not None
        rows = list(dict.fromkeys(row.tuning for table in tables for row in table.rows))
        keys = {key for row in rows for choices in row for key in choices}
        words = " · ".join(dict.fromkeys(t.tuning.words for t in tables if t.tuning is not None))
        each = count(len(rows), "row")
        if tuning.once:
            how = "once on a held-out tenth of train"
        else:
            how = "by each seed on a held-out tenth of train of its own"
            each = f"{count(len(tables[0].seeds), 'seed')} of {each}"
        lines.append(
            f"{f'{name}: ' if several else ''}{words} {how}: {len(keys):,} of the trials, "
            f"{len(tuning.options)} for each of {each}"
        )
    return lines


def _shared_rows(resolved: ResolvedStudy) -> list[str]:
    """ "15 rows, 11 of them different: 12 trials are shared between rows", within the study."""
    rows = [row.keys for table in resolved.tables for row in table.rows]
    shared = sum(map(len, rows)) - len({key for keys in rows for key in keys})
    if not shared:
        return []
    trials = f"{shared:,} trial{'s are' if shared != 1 else ' is'}"
    different = f"{len(rows):,} rows, {len(set(rows)):,} of them different"
    return [f"{different}: {trials} shared between rows"]


def _origin(plan: Plan) -> str:
    """ "baseline, trained by group2"."""
    shared = plan.work.shared
    labels = [
        row.label
        for table in plan.resolved.tables
        for row in table.rows
        if any(key in shared for key in row.keys)
    ]
    rows = list(dict.fromkeys(labels)) or ["what settings are chosen by"]
    named = ", ".join(rows[:3]) + (f" and {len(rows) - 3} rows more" if len(rows) > 3 else "")
    return f"{named}, trained by {', '.join(dict.fromkeys(shared.values()))}"


def _time(plan: Plan) -> str:
    where = machine.describe(plan.devices)
    if not plan.work.to_train and not plan.coming:
        later = plan.resolved.until.next() if plan.resolved.until else None
        if later is None:
            return "Nothing to train"
        return f"Nothing to train for this look; the next, if it is needed, has {later.seeds} seeds"
    if plan.seconds is None and plan.untold:
        return "Time unknown here: stored trials of this model and size tell nothing of other data"
    if plan.seconds is None:
        return f"Time unknown here: no trial of this model and size was trained on {where} yet"
    trials = f"{plan.timed_from} trial{'s' * (plan.timed_from != 1)}"
    return f"About {duration(plan.seconds)} on {where}, from {trials} of this model and size on it"


def _near_groups(plan: Plan) -> list[tuple[int, str, str | None, str | None]]:
    return [(n.count, n.setting, n.stored, n.wanted) for n in plan.near[:3]]


def _near(count: int, setting: str, stored: str | None, wanted: str | None) -> str:
    trials = f"{count} stored trial{'s differ' if count != 1 else ' differs'}"
    values = f" ({stored} there, {wanted} here)" if stored is not None else ""
    return f"{trials} only in {setting}{values}"


def _resolutions(plan: Plan) -> list[str]:
    found = plan.resolutions
    if not found:
        return []
    sizes = {one.comparisons for one in found}
    over = (
        f"{found[0].comparisons} comparison{'s' * (found[0].comparisons != 1)}"
        if len(sizes) == 1
        else "the comparisons of each table"
    )
    counts, until = tuple(found[0].by_seeds), plan.resolved.until
    heads = [f"{n} seeds" for n in counts]
    levels = found[0].levels
    if until is not None or any(alpha != 0.05 for alpha in levels.values()):
        heads = [f"{n} seeds, α = {_level(alpha)}" for n, alpha in levels.items()]
    expected = "" if all(one.stored for one in found) else "expected "
    rows = [["", *heads, f"{expected}noise of one trial"]]
    for i, one in enumerate(found):
        values = [_points(one.by_seeds[n]) for n in counts]
        rows.append([one.label, *values, _noise(one, first=i == 0)])
    if plan.seconds is not None and plan.seed_seconds is not None:
        declared = len(plan.resolved.seeds)
        times = [
            duration(t) if (t := plan.seconds + (n - declared) * plan.seed_seconds) > 0 else "–"
            for n in counts
        ]
        rows.append(["time", *times, "new trials only"])
    metric = metric_named(plan.resolved.metric)
    what = f"Smallest difference {'the seeds' if until is None else 'each look'} can resolve"
    how = f"(80% power, corrected for {over}), in{metric.points}"
    lines = ["", f"{what} {how}", *aligned(rows, gap=3)]
    if len(plan.resolved.seeds) == 1:
        lines.append("One seed gives no interval and no verdict, only the band of re-run noise.")
    worst = max((v for one in found if (v := one.by_seeds[counts[0]]) is not None), default=0.0)
    if worst > 1 and metric == TOP1 and len(plan.resolved.seeds) > 1:
        lines.append(
            f"Most tricks change top-1 by less than 1 point: with {counts[0]} seeds expect "
            "unresolved rows."
        )
    return lines


def _level(alpha: float) -> str:
    return f"{alpha:.7f}".rstrip("0").removeprefix("0").ljust(4, "0")


def _points(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1f}" if value >= 0.05 else f"{value:.2f}"


def _noise(one: Resolution, *, first: bool) -> str:
    if one.stored:
        return f"±{one.noise:.2f}, as {one.stored} stored trials have it"
    origin = "from √(error/2N) " if first else ""
    error = f"{100 * one.error:.0f}" if not one.measured else f"{100 * one.error:.1f}"
    known = ", as measured" if one.measured else ""
    return f"±{one.noise:.2f}, {origin}at {error}% error{known}"


# What happens at a hook where no trick replaces it, and that it is worth saying so.
_DEFAULTS = {
    "build_model": "{model}{zoo}",
    "init_model": "recipe",
    "build_schedule": "step",
    "precision": "fp32",
    "augmentations": "crop → flip → norm",
    "encode_targets": "one-hot",
}

_QUIET = {"forward": "forward", "compute_loss": "loss", "build_optimizer": "optimizer"}
_FIRST = ("augmentations", "encode_targets", "batch_mixers")  # in the order of a step


def hook_lines(tricks: Sequence[Trick], recipe: Recipe) -> list[str]:
    """Two columns: what builds a trial, and what happens in it. `*` marks a replacement."""
    hooks = Hooks(tricks)
    left = _side(hooks, recipe, ("plan", "build"), without=("augmentations", "batch_mixers"))
    right = _side(hooks, recipe, ("epoch", "step", "eval"), also=("augmentations", "batch_mixers"))
    right.sort(key=lambda line: _FIRST.index(line[0]) if line[0] in _FIRST else len(_FIRST))
    if quiet := [word for hook, word in _QUIET.items() if not hooks.acting[hook]]:
        right.append((f"{', '.join(quiet)}: default", ""))
    return _columns(left, right)


def _side(
    hooks: Hooks,
    recipe: Recipe,
    stages: tuple[str, ...],
    *,
    also: tuple[str, ...] = (),
    without: tuple[str, ...] = (),
) -> list[tuple[str, str]]:
    return [
        (hook, _chain(hooks, hook, recipe))
        for hook, info in HOOKS.items()
        if (info.stage in stages or hook in also)
        and hook not in without
        and (hooks.acting[hook] or hook in _DEFAULTS)
    ]


def _chain(hooks: Hooks, hook: str, recipe: Recipe) -> str:
    acting = hooks.acting[hook]
    if hook == "batch_mixers":
        return " or ".join(acting)
    if HOOKS[hook].kind != "replaceable":
        default = _DEFAULTS.get(hook)
        return " + ".join([*([default] if default else []), *acting])
    if any(name.endswith(" *") for name in acting):
        return " → ".join(acting)
    zoo = "" if ":" in recipe.model or "/" in recipe.model else " (zoo)"
    default = _DEFAULTS.get(hook, "default").format(model=recipe.model, zoo=zoo)
    return " → ".join([default, *acting])


def _columns(left: list[tuple[str, str]], right: list[tuple[str, str]]) -> list[str]:
    name = max(len(hook) for hook, _ in left)
    first = [f"{pad(hook, name)}  {what}" for hook, what in left]
    wide = max(width(line) for line in first) + 3
    name = max(len(hook) for hook, what in right if what)
    second = [f"{pad(hook, name)}  {what}" if what else hook for hook, what in right]
    lines = []
    for i in range(max(len(first), len(second))):
        a = first[i] if i < len(first) else ""
        b = second[i] if i < len(second) else ""
        marks = ("build", "step") if i == 0 else ("", "")
        lines.append(f"{marks[0]:<5}  {pad(a, wide)}{marks[1]:<4}  {b}".rstrip())
    return lines


def groups(tables: Sequence[Table]) -> list[list[int]]:
    """Indices of tables that have the same rows, on several data sets: printed side by side."""
    found: dict[tuple[object, ...], list[int]] = {}
    for number, table in enumerate(tables):
        rows = tuple((row.label, row.changes) for row in table.rows)
        found.setdefault((table.ablation, table.column, rows), []).append(number)
    return list(found.values())
