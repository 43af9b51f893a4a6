"""Trained weights from a local file into a model. Tensors are loaded, code never."""

from __future__ import annotations

import argparse
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ablate.errors import AblateError, brief
from ablate.util import tensor_files
from ablate.util.files import open_plain

# What scripts wrap a state dict in, best first: where there is an average of the weights, it is
# what its script evaluated.
_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.", "model.")  # DataParallel, torch.compile, Lightning
_SAVE = "torch.save(model.state_dict(), FILE) keeps the tensors alone"
# torchvision's DenseNet files are older than its DenseNet's names.
_DENSE = re.compile(r"^(.*denselayer\d+\.(?:norm|conv))\.([12]\..+)$")
# What torch calls what it refuses, in its several messages.
_OBJECT = re.compile(r"(?:GLOBAL|unrecognized function|but got) (?:<\w+ '?)?([\w.]+)")
_DEEPEST = 5  # wrappers in wrappers
_NAMED = 2  # entries of a list that a message names


def load_into(model: nn.Module, path: Path, num_classes: int, dataset: str = "the data") -> None:
    """Put a file's weights into a model, all of them. Its class count is `num_classes`.

    The file: a state dict saved by torch, also wrapped as training scripts do, a checkpoint or kept
    weights of ablate's, or `.safetensors`. Raises AblateError if it is something else or does not
    fit.
    """
    expected = model.state_dict()
    given = _named_like(expected, read_state(path))
    _check_fit(expected, given, path, num_classes, dataset)
    try:
        model.load_state_dict(given)
    except RuntimeError as error:  # tensors of a kind that has no numbers to copy
        raise AblateError(f"{path} does not fit the model: {brief(error)}", hint=_SAVE) from error


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, by name. Raises AblateError."""
    document = _safetensors(path) if path.suffix == ".safetensors" else _torch(path)
    state = _unwrapped(document, _DEEPEST)
    if state is None:
        raise AblateError(f"{path} holds no state dict", hint=_SAVE)
    odd = [n for n, v in state.items() if v.layout is not torch.strided or v.is_meta]
    if odd:
        raise AblateError(f"{path} is not loaded: {odd[0][:80]} is no dense tensor", hint=_SAVE)
    return state


def _torch(path: Path) -> Any:
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            warnings.simplefilter("ignore")  # of TorchScript archives: refused below
            with open_plain(path) as file:
                tensor_files.check_file(file)
                document = torch.load(file, map_location="cpu", weights_only=True)
                tensor_files.check_tensors(document, file)
            return document
    except tensor_files.TooLarge as error:
        raise AblateError(f"{path} is not loaded: {error}", hint=_SAVE) from error
    except pickle.UnpicklingError as error:
        found = _OBJECT.search(str(error))
        if found is None:
            raise _unreadable(path, error) from error
        raise AblateError(
            f"{path} holds Python objects ({found[1]}), which are code to run, and is not loaded",
            hint=_SAVE,
        ) from error
    except Exception as error:  # a damaged file makes torch raise almost anything
        if "TorchScript" in str(error):
            raise AblateError(f"{path} is a TorchScript archive", hint=_SAVE) from error
        raise _unreadable(path, error) from error


def _safetensors(path: Path) -> Any:
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise AblateError(
            f"{path} needs the package safetensors", hint='pip install "ablate-study[safetensors]"'
        ) from error
    try:
        return load_file(path)
    except Exception as error:  # as above; the package has an exception of its own
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> AblateError:
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        return AblateError(
            f"{path} cannot be read: {error.strerror}", hint="make it readable for you, or copy it"
        )
    return AblateError(
        f"{path} is no file of weights, or is damaged ({brief(error, 80)})",
        hint="compare its size with the original's, and get it again",
    )


def _unwrapped(document: Any, deepest: int) -> dict[str, Tensor] | None:
    """The state dict in what was saved, or None; what holds itself has no end."""
    if not isinstance(document, Mapping) or not document or not deepest:
        return None
    for wrapper in _WRAPPERS:
        inner = document.get(wrapper)
        if isinstance(inner, Mapping) and (state := _unwrapped(inner, deepest - 1)) is not None:
            return state
    # AveragedModel counts its updates beside the weights
    named = {k: v for k, v in document.items() if k != "n_averaged"}
    tensors = all(isinstance(k, str) and isinstance(v, Tensor) for k, v in named.items())
    return named if named and tensors else None


def _named_like(expected: Mapping[str, Tensor], state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state with the model's names, where only a wrapper or torchvision's past differs."""
    while not expected.keys() & state.keys():
        prefix = next((p for p in _PREFIXES if all(k.startswith(p) for k in state)), None)
        if prefix is None:
            break
        state = {k.removeprefix(prefix): v for k, v in state.items()}
    renamed = {k: k if k in expected else _DENSE.sub(r"\1\2", k) for k in state}
    state = {renamed[k]: v for k, v in state.items()}
    # files from before batch norm counted its batches; nothing reads the count in evaluation
    for name, value in expected.items():
        if name.endswith("num_batches_tracked"):
            state.setdefault(name, torch.zeros_like(value))
    return state


def _check_fit(
    expected: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    path: Path,
    num_classes: int,
    dataset: str,
) -> None:
    missing = [name for name in expected if name not in given]
    unexpected = [name for name in given if name not in expected]
    other = {
        name: (tuple(given[name].shape), tuple(value.shape))
        for name, value in expected.items()
        if name in given and given[name].shape != value.shape
    }
    if not (missing or unexpected or other):
        return
    outputs = {there[0] for there, here in other.values() if _heads(there, here, num_classes)}
    if not missing and not unexpected and len(outputs) == 1 and _all_heads(other, num_classes):
        raise AblateError(
            f"the classifier in {path} has {outputs.pop():,} outputs, "
            f"{dataset} has {num_classes:,} classes",
            hint="train it on these classes; a teacher can be a trial of the study: [trial.NAME]",
        )
    parts = [
        f"{name} is {list(there)} there and {list(here)} here"
        for name, (there, here) in list(other.items())[:_NAMED]
    ]
    if len(other) > _NAMED:
        parts[-1] += f", and {len(other) - _NAMED:,} more"
    parts += [_listed("missing", missing), _listed("unexpected", unexpected)]
    raise AblateError(
        f"{path} does not fit the model: {'; '.join(part for part in parts if part)}",
        hint="name the model that it was saved from: ablate models",
    )


def _heads(there: tuple[int, ...], here: tuple[int, ...], num_classes: int) -> bool:
    """Whether two shapes are those of a classifier with so many outputs, and with others."""
    return bool(there and here) and here[0] == num_classes and there[1:] == here[1:]


def _all_heads(
    shapes: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]], num_classes: int
) -> bool:
    return all(_heads(there, here, num_classes) for there, here in shapes.values())


def _listed(word: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return f"{word} {', '.join(names[:_NAMED])}{more}"
