"""Which models there are, by name. No torch here: `check` and `plan` ask for names only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec

from ablate.errors import AblateError, did_you_mean
from ablate.util.own_code import is_function


@dataclass(frozen=True)
class ModelInfo:
    """A name, its family, and one line on what it is."""

    name: str
    family: str
    summary: str


# 3 stages of n basic blocks: depth = 6n + 2 (He et al., 2015, arXiv 1512.03385, section 4.2).
CIFAR_DEPTHS = (8, 20, 32, 44, 56, 110)

# (depth, width): 3 stages of n pre-activation blocks, depth = 6n + 4 (Zagoruyko and Komodakis,
# 2016, arXiv 1605.07146).
_WIDE = ((16, 4), (28, 10))

# Side in pixels; with fewer, training's auxiliary head has nothing left to read.
INCEPTION_SIZE = 299
# Families made for one size, which their position embeddings or grids are fixed to.
_SIZES = {"Inception": INCEPTION_SIZE, "Vision Transformer": 224, "MaxViT": 224}

# torchvision's names, by family.
_RESNETS = {
    "resnet18": "torchvision's, basic blocks",
    "resnet34": "torchvision's, basic blocks",
    "resnet50": "torchvision's, stride in the 3×3",
    "resnet101": "torchvision's, stride in the 3×3",
    "resnet152": "torchvision's, stride in the 3×3",
    "resnext50_32x4d": "torchvision's, 32 groups of width 4",
    "resnext101_32x8d": "torchvision's, 32 groups of width 8",
    "resnext101_64x4d": "torchvision's, 64 groups of width 4",
    "wide_resnet50_2": "torchvision's, inner convolutions twice as wide",
    "wide_resnet101_2": "torchvision's, inner convolutions twice as wide",
}
_V1 = ("resnet50", "resnet101", "resnet152")
_SE = ("resnet18", "resnet34", *_V1, "resnext50_32x4d", "resnext101_32x8d")
_SE_V1 = tuple(f"{name}_v1" for name in _V1)
_REGNET_SIZES = ("400mf", "800mf", "1_6gf", "3_2gf", "8gf", "16gf", "32gf")
_OTHERS = {
    "RegNet": (
        *(f"regnet_{kind}_{size}" for kind in "xy" for size in _REGNET_SIZES),
        "regnet_y_128gf",
    ),
    "VGG": tuple(f"vgg{depth}{bn}" for depth in (11, 13, 16, 19) for bn in ("", "_bn")),
    "AlexNet": ("alexnet",),
    "DenseNet": ("densenet121", "densenet161", "densenet169", "densenet201"),
    "EfficientNet": (
        *(f"efficientnet_b{scale}" for scale in range(8)),
        *(f"efficientnet_v2_{size}" for size in "sml"),
    ),
    "MNASNet": ("mnasnet0_5", "mnasnet0_75", "mnasnet1_0", "mnasnet1_3"),
    "MobileNet": ("mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large"),
    "ShuffleNet": tuple(f"shufflenet_v2_x{width}" for width in ("0_5", "1_0", "1_5", "2_0")),
    "SqueezeNet": ("squeezenet1_0", "squeezenet1_1"),
    "ConvNeXt": tuple(f"convnext_{size}" for size in ("tiny", "small", "base", "large")),
    "Swin": tuple(f"swin_{version}{size}" for version in ("", "v2_") for size in "tsb"),
    "Vision Transformer": ("vit_b_16", "vit_b_32", "vit_l_16", "vit_l_32", "vit_h_14"),
    "MaxViT": ("maxvit_t",),
}


def _catalogue() -> dict[str, ModelInfo]:
    rows = [ModelInfo(name, "ResNet", text) for name, text in _RESNETS.items()]
    rows += [
        ModelInfo(f"{name}_v1", "ResNet", "stride in the first 1×1, as first published")
        for name in _V1
    ]
    rows += [
        ModelInfo(f"se{name}", "ResNet", f"{name} with squeeze and excitation, reduction 16")
        for name in (*_SE, *_SE_V1)
    ]
    rows += [
        ModelInfo(f"{row.name}_small", "ResNet", f"{row.name} with a 3×3 stem and no max pool")
        for row in rows
    ]
    rows += [
        ModelInfo(
            f"resnet{depth}",
            "CIFAR ResNet",
            f"for small images: stages of 16, 32, 64 channels, {(depth - 2) // 6} basic "
            f"block{'s' if depth > 8 else ''} each",
        )
        for depth in CIFAR_DEPTHS
    ]
    rows += [
        ModelInfo(name, family, "torchvision's")
        for family, names in _OTHERS.items()
        for name in names
    ]
    rows += [
        ModelInfo("inception_v3", "Inception", "torchvision's, auxiliary head weighted 0.4"),
        ModelInfo("googlenet", "GoogLeNet", "torchvision's, two auxiliary heads weighted 0.3"),
        ModelInfo("mobilenet_v1", "MobileNet", "as published, width 1"),
    ]
    rows += [
        ModelInfo(
            f"wrn{depth}_{width}",
            "CIFAR Wide ResNet",
            f"for small images: stages of {16 * width}, {32 * width}, {64 * width} channels, "
            f"{(depth - 4) // 6} pre-activation blocks each",
        )
        for depth, width in _WIDE
    ]
    return {row.name: row for row in rows}


_MODELS = _catalogue()
_TIMM = re.compile(r"timm/[\w.\-]+")


def model_names() -> tuple[str, ...]:
    """Every name of the catalogue; `timm/NAME` and "package.module:function" are models too."""
    return tuple(_MODELS)


def is_foreign(name: str) -> bool:
    """Whether the model is no catalogue's: `timm/NAME` or "package.module:function"."""
    return name not in _MODELS


def is_model(name: str) -> bool:
    """Whether `build_model` knows the name, as far as can be said without importing anything.

    A "package.module:function" counts if it is spelled like one, `timm/NAME` if timm is installed.
    """
    if name in _MODELS or is_function(name):
        return True
    return bool(_TIMM.fullmatch(name)) and find_spec("timm") is not None


def model_info(name: str) -> ModelInfo:
    """Family and one line on a model; `AblateError` for an unknown name."""
    if name in _MODELS:
        return _MODELS[name]
    if is_function(name):
        return ModelInfo(name, "function", "built by your own function")
    if _TIMM.fullmatch(name):
        if find_spec("timm") is not None:
            return ModelInfo(name, "timm", "timm's")
        raise AblateError(
            f"model '{name}': timm is not installed", hint='pip install "ablate-study[timm]"'
        )
    raise AblateError(f"unknown model '{name}'{_near(name)}", hint="ablate models")


def model_image_size(name: str) -> int | None:
    """Side in pixels of the images that a model was made for; None: the data set decides."""
    return _SIZES.get(model_info(name).family)


def _near(name: str) -> str:
    close = did_you_mean(name, model_names())
    return close if close.startswith("; did you mean") else ""
