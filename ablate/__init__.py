"""ablate: which training tricks help, by how much, and how sure one can be.

What is named here is what a user or the author of a trick may import; beside it there are
`ablate.hookspecs` (the hooks), `ablate.testing` (a test kit), `ablate.models` with
`ablate.models.surgery`, and `ablate.data.augment_policies`. All else may move.
"""

import sys

# `python -m ablate` has the working folder first on its path, and what lies there, a `typing.py`,
# would be imported from here on: by this file too, which is why nothing is imported before.
_asked = sys.orig_argv[-len(sys.argv)] if sys.argv[:1] == ["-m"] else ""  # or "-mablate"
_asked = _asked.partition(".")[0]
if not sys.flags.safe_path and (_asked == "ablate" or _asked.endswith("mablate")):
    del sys.path[0]
del _asked

from typing import TYPE_CHECKING  # noqa: E402

from ablate._version import __version__  # noqa: E402

if TYPE_CHECKING:
    from ablate.api import Results, Study, query
    from ablate.core.hook_types import (
        Augmentation,
        Batch,
        Factors,
        Mixer,
        Outputs,
        Precision,
        Run,
        Schedule,
        TrainBatches,
    )
    from ablate.core.metrics import Metric
    from ablate.core.recipe import Recipe
    from ablate.core.rng import Draws, stream_key
    from ablate.core.trial import Trial
    from ablate.data.arrays import ImageArrays
    from ablate.data.upload import upload
    from ablate.engine.pretrained import check_teacher, load_teacher
    from ablate.errors import AblateError, NoEffect
    from ablate.hookspecs import hookimpl
    from ablate.tricks.base import Trick
    from ablate.tricks.file_params import LocalFile

__all__ = [
    "AblateError",
    "Augmentation",
    "Batch",
    "Draws",
    "Factors",
    "ImageArrays",
    "LocalFile",
    "Metric",
    "Mixer",
    "NoEffect",
    "Outputs",
    "Precision",
    "Recipe",
    "Results",
    "Run",
    "Schedule",
    "Study",
    "TrainBatches",
    "Trial",
    "Trick",
    "__version__",
    "check_teacher",
    "hookimpl",
    "load_teacher",
    "query",
    "stream_key",
    "upload",
]

# Imported when first asked for: `ablate --help` must not wait for pydantic, nor a study for torch.
_HOMES = {
    "ablate.api": ("Results", "Study", "query"),
    "ablate.core.hook_types": (
        *("Augmentation", "Batch", "Factors", "Mixer", "Outputs", "Precision", "Run", "Schedule"),
        "TrainBatches",
    ),
    "ablate.core.metrics": ("Metric",),
    "ablate.core.recipe": ("Recipe",),
    "ablate.core.rng": ("Draws", "stream_key"),
    "ablate.core.trial": ("Trial",),
    "ablate.data.arrays": ("ImageArrays",),
    "ablate.data.upload": ("upload",),
    "ablate.engine.pretrained": ("check_teacher", "load_teacher"),
    "ablate.errors": ("AblateError", "NoEffect"),
    "ablate.hookspecs": ("hookimpl",),
    "ablate.tricks.base": ("Trick",),
    "ablate.tricks.file_params": ("LocalFile",),
}

if not TYPE_CHECKING:  # a checker knows the names above, and refuses any other

    def __getattr__(name: str) -> object:
        for home, names in _HOMES.items():
            if name in names:
                from importlib import import_module

                return getattr(import_module(home), name)
        raise AttributeError(f"module 'ablate' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
