"""The model zoo, its handles for surgery, and deterministic initialisation.

`catalogue` knows the names and needs no torch; what does is imported when first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ablate.models.build import build_model as build_model
    from ablate.models.forward import outputs as outputs
    from ablate.models.init import initialise as initialise
    from ablate.models.surgery import handles as handles

_HOMES = {
    "build_model": "ablate.models.build",
    "handles": "ablate.models.surgery",
    "initialise": "ablate.models.init",
    "outputs": "ablate.models.forward",
}

__all__ = [*_HOMES]  # noqa: PLE0604 - the names above, resolved lazily


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'ablate.models' has no attribute '{name}'")
