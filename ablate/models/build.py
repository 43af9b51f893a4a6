"""`build_model`: a model by name, without its weights meaning anything yet.

Nothing is downloaded, and the global random generator is neither read nor moved: initial weights
come from `ablate.models.init`, after all surgery.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from ablate.errors import AblateError, brief, did_you_mean
from ablate.models.catalogue import model_info
from ablate.models.own import has_own_parameters, remember
from ablate.models.pooling import with_deterministic_pools
from ablate.models.wide import WideResNet
from ablate.util import own_code

# These have buffers, or may have, that only their own constructor can fill.
_DRAWN = ("RegNet", "Swin", "MaxViT", "timm", "function")
# RegNet's constructor computes its widths with tensors, which the meta device cannot.
_NOT_ON_META = ("RegNet",)


def build_model(name: str, num_classes: int) -> nn.Module:
    """A model of `ablate models`, `timm/NAME` or "package.module:function".

    The function is called with `num_classes=`. What weights the model has means nothing: zeros,
    or what its own code drew, from a generator of their own. Under `torch.device("meta")` the model
    ends up there. `AblateError` for a name that is none, or code that gives no model.
    """
    device = torch.get_default_device()
    family = model_info(name).family
    if device.type == "meta":
        model = _on_meta(name, family, num_classes)
    elif family in _DRAWN:
        with isolated_rng():
            model = _constructed(name, family, num_classes)
    else:  # draws nothing, and takes a tenth of the time
        model = _materialised(_on_meta(name, family, num_classes), device)
    model = with_deterministic_pools(model)
    if has_own_parameters(model):
        remember(model, name, num_classes)
    return model


def construct(name: str, num_classes: int, seed: int) -> nn.Module:
    """The model on the CPU as its own code initialises it, drawing from `seed` alone."""
    with torch.device("cpu"), isolated_rng(seed):
        return _constructed(name, model_info(name).family, num_classes)


def _on_meta(name: str, family: str, num_classes: int) -> nn.Module:
    if family not in _NOT_ON_META:
        try:
            with torch.device("meta"), isolated_rng():
                return _constructed(name, family, num_classes).to("meta")
        except Exception:  # whatever goes wrong there does so again below, or is the meta device's
            if family not in _DRAWN:
                raise
    with torch.device("cpu"), isolated_rng():
        return _constructed(name, family, num_classes).to("meta")


def _constructed(name: str, family: str, num_classes: int) -> nn.Module:
    if family == "function":
        return _from_function(name, num_classes)
    if family == "timm":
        return _from_timm(name.removeprefix("timm/"), num_classes)
    return _from_catalogue(name, family, num_classes)


@contextmanager
def isolated_rng(seed: int = 0) -> Iterator[None]:
    """Inside, the CPU's global generator starts from `seed`; outside it never moved."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def _from_catalogue(name: str, family: str, num_classes: int) -> nn.Module:
    if family == "CIFAR ResNet":
        from ablate.models.cifar import CifarResNet

        return CifarResNet(int(name.removeprefix("resnet")), num_classes)
    if family == "CIFAR Wide ResNet":
        depth, width = (int(number) for number in name.removeprefix("wrn").split("_"))
        return WideResNet(depth, width, num_classes)
    if family == "Inception":
        from ablate.models.inception import InceptionV3

        return InceptionV3(num_classes)
    if family == "GoogLeNet":
        from ablate.models.googlenet import AuxiliaryGoogLeNet

        return AuxiliaryGoogLeNet(num_classes)
    if name == "mobilenet_v1":
        from ablate.models.mobilenet import MobileNetV1

        return MobileNetV1(num_classes)
    from torchvision.models import get_model

    small = family == "ResNet" and name.endswith("_small")
    base = name.removesuffix("_small") if small else name
    squeezed = base.startswith("seres")
    v1 = base.endswith("_v1")
    known = base.removeprefix("se") if squeezed else base
    model: nn.Module = get_model(known.removesuffix("_v1"), weights=None, num_classes=num_classes)
    if v1:
        _stride_first(model)
    if squeezed:
        from ablate.models.squeeze import squeeze_and_excite

        squeeze_and_excite(model)
    if small:
        _small_stem(model)
    return model


def _stride_first(model: nn.Module) -> None:
    """torchvision's bottlenecks stride in the 3×3; the published ones in the first 1×1."""
    from torchvision.models.resnet import Bottleneck

    for module in model.modules():
        if isinstance(module, Bottleneck):
            module.conv1.stride, module.conv2.stride = module.conv2.stride, module.conv1.stride


def _small_stem(model: nn.Module) -> None:
    conv = model.get_submodule("conv1")
    assert isinstance(conv, nn.Conv2d)
    stem = nn.Conv2d(conv.in_channels, conv.out_channels, 3, padding=1, bias=False)
    model.set_submodule("conv1", stem)
    model.set_submodule("maxpool", nn.Identity())


def _materialised(model: nn.Module, device: torch.device) -> nn.Module:
    """The meta model with real memory: zero parameters, batch norm statistics reset."""
    model.to_empty(device=device)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    known: set[int] = set()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase):
            module.reset_running_stats()
            known.update(id(buffer) for buffer in module.buffers(recurse=False))
    unknown = [name for name, buffer in model.named_buffers() if id(buffer) not in known]
    assert not unknown, f"a catalogue model with buffers of its own: {unknown}"
    return model


def _from_timm(name: str, num_classes: int) -> nn.Module:
    import timm

    if not timm.is_model(name):
        close = did_you_mean(name, timm.list_models())
        close = close if close.startswith("; did you mean") else ""
        raise AblateError(f"unknown timm model '{name}'{close}", hint="timm.list_models()")
    try:
        model: nn.Module = timm.create_model(name, pretrained=False, num_classes=num_classes)
    except Exception as error:  # a model may need another package, or raise anything
        raise AblateError(f"model 'timm/{name}' raised {brief(error)}") from error
    return model


def _from_function(name: str, num_classes: int) -> nn.Module:
    function = own_code.function("model", name)
    try:
        model = function(num_classes=num_classes)
    except (AblateError, KeyboardInterrupt):
        raise
    except BaseException as error:  # someone else's code may raise anything
        raise AblateError(
            f"model '{name}' raised {brief(error)}",
            hint=f"it is called as {name.partition(':')[2]}(num_classes={num_classes})",
        ) from error
    if not isinstance(model, nn.Module):
        raise AblateError(f"model '{name}' returned {type(model).__name__}, not a torch.nn.Module")
    return model
