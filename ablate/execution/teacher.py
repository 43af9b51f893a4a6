"""A trained model that another trial learns from: saved by one trial, rebuilt for the other."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from ablate.core.trial import Numerics
from ablate.engine.pretrained import placed
from ablate.errors import AblateError, brief
from ablate.store import attempt_reader
from ablate.store.attempt_writer import Attempt
from ablate.store.store import Store


def save(model: nn.Module, attempt: Attempt) -> None:
    """Keep the weights of the model that was evaluated."""
    state = {name: value.detach().cpu() for name, value in model.state_dict().items()}
    attempt.save_weights(lambda file: torch.save(state, file))


def load(store_path: Path, key: str, device: torch.device, numerics: Numerics) -> nn.Module:
    """The model of a finished trial, on the device, in evaluation mode, without gradients."""
    from ablate.tricks.construct import construct
    from ablate.tricks.hooks import Hooks

    trial = Store(store_path).trial(key)
    path = attempt_reader.weights(store_path, key)
    if trial is None or path is None:
        raise AblateError(f"the weights of the teacher {key[:8]} are not in {store_path}")
    idle = frozenset(t.name for t in trial.tricks if t.bundle)
    # What it was trained with may be gone by now; only its structure is needed.
    hooks = Hooks(construct(trial.tricks, check_files=False), may_idle=idle)
    model: nn.Module = hooks.build_model(trial.recipe, trial.dataset.num_classes)
    try:
        model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # torch raises anything for what are not these weights
        raise AblateError(
            f"{path} cannot be used as weights of the teacher {key[:8]}: {brief(error)}",
            hint=f"remove {path} and ablate run trains the teacher again",
        ) from error
    return placed(model, device, numerics)
