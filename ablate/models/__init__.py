"""The model zoo, handles for surgery, and deterministic initialisation.

Imports `hookspecs`, `core` and what is below them. `catalogue` knows the names and needs no torch;
what does is imported when first asked for. The names here are public, and those of `surgery`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ablate.models.build import build_model
    from ablate.models.catalogue import is_model, model_info, model_names
    from ablate.models.forward import outputs
    from ablate.models.init import initialise
    from ablate.models.pooling import BlurPool
    from ablate.models.squeeze import squeeze_and_excite
    from ablate.models.surgery import handles

__all__ = [
    "BlurPool",
    "build_model",
    "handles",
    "initialise",
    "is_model",
    "model_info",
    "model_names",
    "outputs",
    "squeeze_and_excite",
]

_HOMES = {
    "BlurPool": "pooling",
    "build_model": "build",
    "handles": "surgery",
    "initialise": "init",
    "is_model": "catalogue",
    "model_info": "catalogue",
    "model_names": "catalogue",
    "outputs": "forward",
    "squeeze_and_excite": "squeeze",
}

if not TYPE_CHECKING:  # a checker knows the names above, and refuses any other

    def __getattr__(name: str) -> object:
        if name in _HOMES:
            from importlib import import_module

            return getattr(import_module(f"ablate.models.{_HOMES[name]}"), name)
        raise AttributeError(f"module 'ablate.models' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
