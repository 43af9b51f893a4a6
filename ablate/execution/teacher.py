"""A trained model that another trial learns from: saved by one trial, rebuilt for the other."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from ablate.core.teaching import Taught, taught
from ablate.core.trial import Numerics, Trial
from ablate.engine.evaluate import evaluate
from ablate.engine.precision import number_format
from ablate.engine.pretrained import placed
from ablate.errors import AblateError, brief
from ablate.store import attempt_reader
from ablate.store.attempt_writer import Attempt
from ablate.util.files import open_plain
from ablate.util.tensor_files import check_file, check_tensors

if TYPE_CHECKING:
    from ablate.core.hook_types import Precision
    from ablate.data.loader import TrialData

log = logging.getLogger("ablate.trial")


def save(model: nn.Module, attempt: Attempt) -> None:
    """Keep the weights of the model that was evaluated."""
    state = {name: value.detach().cpu() for name, value in model.state_dict().items()}
    attempt.save_weights(lambda file: torch.save(state, file))


def measure(
    model: nn.Module,
    data: TrialData,
    precision: Precision,
    device: torch.device,
    classes: Sequence[str],
) -> Taught | None:
    """How good a teacher is on the evaluation images; None where it cannot be shown them.

    It runs as it is written, not compiled: the images may be of another size than in training.
    """
    compiled = model.__dict__.pop("forward", None)
    try:
        format_ = number_format(precision, device, fused=False)
        tested = evaluate(model, data.eval_batches(), format_, len(classes))
        return taught(tested.scores, tested.labels, classes)
    except Exception as error:  # noqa: BLE001 - a model's own code; the trial itself is done
        log.warning("the teacher cannot be shown the evaluation images: %s", brief(error))
        return None
    finally:
        if compiled is not None:
            model.__dict__["forward"] = compiled


def load(store_path: Path, trial: Trial, device: torch.device, numerics: Numerics) -> nn.Module:
    """The model of a finished trial, on the device, in evaluation mode, without gradients.

    trial: as the study has it. What the store says of it may name other files for the same key.
    """
    from ablate.tricks.construct import construct
    from ablate.tricks.hooks import Hooks

    key = trial.key
    path = attempt_reader.weights(store_path, key)
    if path is None:
        raise AblateError(f"the weights of the teacher {key[:8]} are not in {store_path}")
    idle = frozenset(t.name for t in trial.tricks if t.bundle)
    # What it was trained with may be gone by now; only its structure is needed.
    hooks = Hooks(construct(trial.tricks, check_files=False), may_idle=idle)
    model: nn.Module = hooks.build_model(trial.recipe, trial.dataset.num_classes)
    try:
        with open_plain(path) as file:
            check_file(file)
            state = torch.load(file, map_location="cpu", weights_only=True)
            check_tensors(state, file)
        model.load_state_dict(state)
    except OSError as error:
        raise AblateError(
            f"{path}, the weights of the teacher {key[:8]}, cannot be read: "
            f"{error.strerror or error}",
            hint="make it readable for you: it is whole",
        ) from error
    except Exception as error:  # torch raises anything for what are not these weights
        raise AblateError(
            f"{path} cannot be used as weights of the teacher {key[:8]}: {brief(error)}",
            hint=f"remove {path} and ablate run trains the teacher again",
        ) from error
    return placed(model, device, numerics)
