"""ablate: which training tricks help, by how much, and how sure one can be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ablate.api import Results as Results
    from ablate.api import Study as Study
    from ablate.api import query as query
    from ablate.tricks.base import Trick as Trick
    from ablate.tricks.base import hookimpl as hookimpl
    from ablate.tricks.files import LocalFile as LocalFile

# Imported when first asked for: `ablate --help` must not wait for pydantic.
_HOMES = {
    "Trick": "ablate.tricks.base",
    "hookimpl": "ablate.tricks.base",
    "LocalFile": "ablate.tricks.files",
    "Study": "ablate.api",
    "Results": "ablate.api",
    "query": "ablate.api",
    "Augmentation": "ablate.types",
    "Factors": "ablate.types",
    "Mixer": "ablate.types",
    "Outputs": "ablate.types",
    "Precision": "ablate.types",
}

__all__ = [*_HOMES, "__version__"]  # noqa: PLE0604 - the names above, resolved lazily


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'ablate' has no attribute '{name}'")
