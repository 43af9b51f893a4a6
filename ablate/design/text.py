"""Settings and changes as a person reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ablate.study.settings import flat

if TYPE_CHECKING:
    from ablate.core.recipe import Recipe

# They follow image_size unless someone sets them: said once, by it.
_FOLLOWING = ("eval_size", "eval_resize")


def setting_in_words(key: str, value: Any) -> str:
    """ "batch_size 1024"."""
    return f"{key} {value_in_words(value)}"


def value_in_words(value: Any) -> str:
    """A setting's value: 0.1, true, resnet50, (0.25, 0.5)."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value:.6g}" if isinstance(value, float) else str(value)
    if isinstance(value, list | tuple):
        return f"({', '.join(value_in_words(item) for item in value)})"
    if value is None:
        return "none"
    return str(value)


def column_in_words(settings: Mapping[str, Any]) -> str:
    """ "batch_size 256", "model inception_v3, image_size 299"; "" without settings."""
    return ", ".join(setting_in_words(key, value) for key, value in flat(settings).items())


def headline(recipe: Recipe, sizes: Sequence[int]) -> str:
    """ "resnet50_v1 · 20 epochs · batch 64 · lr 0.025 · 160 px"; `sizes`: of each data set."""
    pixels = "/".join(str(size) for size in dict.fromkeys(sizes))
    epochs = f"{recipe.epochs} epoch{'' if recipe.epochs == 1 else 's'}"
    return (
        f"{recipe.model} · {epochs} · batch {recipe.batch_size} · "
        f"lr {value_in_words(float(recipe.lr))} · {pixels} px"
    )


def differences(before: Recipe, after: Recipe) -> dict[str, tuple[Any, Any]]:
    """{"batch_size": (256, 1024)} of two resolved recipes."""
    old, new = flat(before.model_dump(mode="json")), flat(after.model_dump(mode="json"))
    return {
        key: (old.get(key), new.get(key)) for key in {**old, **new} if old.get(key) != new.get(key)
    }


def changes_in_words(
    added: Sequence[str],
    removed: Sequence[str],
    settings: Mapping[str, tuple[Any, Any]],
) -> str:
    """ "init: γ 1 → 0 in 16 batch norms; batch size: 256 → 1024".

    added: what each trick does that the row has and the one above has not. removed: labels.
    """
    parts = list(dict.fromkeys(added))
    if removed:
        parts.append(f"without {', '.join(removed)}")
    parts += [
        f"{key.replace('_', ' ')}: {value_in_words(old)} → {value_in_words(new)}"
        for key, (old, new) in settings.items()
        if key not in _FOLLOWING or "image_size" not in settings
    ]
    return "; ".join(parts)
