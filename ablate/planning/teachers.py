"""How good teachers are, as far as stored trials know it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablate.core.teaching import Taught

if TYPE_CHECKING:
    from ablate.core.resolved_study import ResolvedStudy
    from ablate.store.store import Store


def teacher_notes(
    resolved: ResolvedStudy, store: Store | None, *, only_wrong: bool = False
) -> list[str]:
    """What trials measured that learned from a teacher, else how good a trained one was itself.

    One line for what several say alike. only_wrong: nothing of good ones.
    """
    if store is None:
        return []
    places: dict[str, list[str]] = {}
    for key in resolved.order:
        trial = resolved.trials[key]
        if trial.teacher is None and not any(spec.files for spec in trial.tricks):
            continue
        result = store.result(key)
        known = Taught.read(result.summary) if result else None
        if known is None and trial.teacher is not None:
            theirs = store.result(trial.teacher)
            top1 = theirs.final.get("top1") if theirs else None
            classes = trial.dataset.num_classes
            known = Taught.read({"teacher_top1": top1, "teacher_classes": classes})
        if known is None:
            continue
        said = known.warning(trained=trial.teacher is not None)
        if not said and not only_wrong:
            said = f"its teacher is right for {known.top1:.1%} of the evaluation images"
        if said:
            places.setdefault(said, []).append(resolved.labels[key])
    return [
        f"{labels[0]}{f' and {len(labels) - 1} more' if len(labels) > 1 else ''}: {said}"
        for said, labels in places.items()
    ]
