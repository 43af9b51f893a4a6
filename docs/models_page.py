"""docs/models.md, from the models and the tricks themselves: used by generate.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import torch

from ablate.core.recipe import Recipe
from ablate.models.catalogue import model_info, model_names
from ablate.planning.model_card import ModelCard, describe_model, multiply_adds
from ablate.report.published.data import paper
from ablate.tricks.discovery import load_catalogue
from ablate.tricks.hooks import Hooks

# One or two of a family besides the ResNets, which are all there; the others' code is the same.
OTHERS = (
    *("resnet20", "resnet56", "wrn16_4", "wrn28_10"),
    *("vgg16", "vgg16_bn", "alexnet", "googlenet", "inception_v3", "densenet121"),
    *("squeezenet1_1", "mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large", "shufflenet_v2_x1_0"),
    *("mnasnet1_0", "efficientnet_b0", "efficientnet_v2_s", "regnet_x_400mf", "regnet_y_400mf"),
    *("convnext_tiny", "vit_b_16", "swin_t", "swin_v2_t", "maxvit_t"),
)
# Whose answers stand for every ResNet of their kind.
SURGERY = (
    *("resnet18", "resnet18_small", "resnet50", "resnet50_v1", "resnet50_v1_small"),
    *("seresnet50", "resnext50_32x4d", "wide_resnet50_2", *OTHERS),
)
TABLE5 = ("", "resnet_b", "resnet_c", "resnet_d")


def models_page(made: str) -> str:
    """The page; `made` says that it is made."""
    resnets = [
        name
        for name in model_names()
        if model_info(name).family == "ResNet" and not name.endswith("_small")
    ]
    acting = _acting()
    # A minute and a half of one core: building every model, and each again for each trick.
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        cards = pool.map(describe_model, SURGERY)
        sizes = list(pool.map(partial(describe_model, tricks=()), (*resnets, *OTHERS)))
        surgery = list(cards)
    lines = [*("# Models", "", made, "")]
    lines += [*INTRODUCTION.splitlines(), "", "## Sizes", "", *SIZES.splitlines(), ""]
    lines += _table(
        ("model", "family", "parameters", "GMACs", "pixels", "what it is"),
        ((f"`{c.name}`", c.family, f"{c.parameters:,}", _gmacs(c.macs), str(c.image_size),
          c.summary) for c in sizes),
        numbers=(2, 3, 4),
    )  # fmt: skip
    lines += ["", "## Table 5", "", *TABLE_5.splitlines(), "", *_table5()]
    lines += ["", "## What surgery can do", "", *SURGERY_TEXT.splitlines(), ""]
    lines += _table(
        ("model", "stem", "residual blocks", "shortcuts", "classifier", "tricks that act"),
        (_surgery(card, acting) for card in surgery),
    )
    return "\n".join([*lines, "", *REST.splitlines()]) + "\n"


def _gmacs(macs: int | None) -> str:
    return "–" if macs is None else f"{macs / 1e9:.3f}"


def _table(
    head: Sequence[str], rows: Iterator[Sequence[str]], numbers: Sequence[int] = ()
) -> list[str]:
    marks = ("--:" if column in numbers else ":--" for column in range(len(head)))
    return [
        f"| {' | '.join(head)} |",
        f"| {' | '.join(marks)} |",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def _acting() -> list[str]:
    """The tricks that rebuild a model, by name."""
    catalogue = load_catalogue(bundled_only=True)
    classes = (catalogue.load(name).cls for name in catalogue.names)
    return [cls.name for cls in classes if hasattr(cls, "build_model")] + ["zero_gamma"]


def _surgery(card: ModelCard, acting: Sequence[str]) -> tuple[str, ...]:
    refusing = {trick for trick, _ in card.no_fit}
    return (
        f"`{card.name}`",
        ", ".join(f"`{conv}`" for conv in card.stem) or "–",
        str(card.blocks or "–"),
        str(card.shortcuts or "–"),
        f"`{card.classifier}`" if card.classifier else "–",
        ", ".join(f"`{trick}`" for trick in acting if trick not in refusing) or "–",
    )


def _table5() -> list[str]:
    table = paper().table(5)
    assert table is not None
    catalogue = load_catalogue(bundled_only=True)
    recipe = Recipe.model_validate({"model": "resnet50_v1"})
    rows = []
    for number, line in enumerate(table.rows):
        tricks = [catalogue.load(name).cls() for name in TABLE5[1 : number + 1]]
        with torch.device("meta"):
            model = Hooks(tricks).build_model(recipe, 1000)
        parameters = sum(p.numel() for p in model.parameters())
        name = f"+ `{TABLE5[number]}`" if number else "`resnet50_v1`"
        rows.append(
            (name, f"{parameters:,}", f"{line.mparams} M", _gmacs(multiply_adds(model, 224)),
             f"{line.gflops} G")
        )  # fmt: skip
    head = ("row", "parameters", "the paper's", "GMACs", "the paper's FLOPs")
    return _table(head, iter(rows), numbers=(1, 2, 3, 4))


INTRODUCTION = """\
A recipe's `model` is one of

- a name that `ablate models` lists: all of torchvision's classification models under their own
  names, and those that it has not, below;
- `timm/NAME`, any model of [timm](https://github.com/huggingface/pytorch-image-models) where that
  is installed (`pip install "ablate-study[timm]"`);
- `package.module:function`, yours, called with `num_classes=`. It returns a `torch.nn.Module` that
  gives logits, one for each class, or `ablate.Outputs(logits, aux)` where it has auxiliary heads.
  A trial's key has this name and not the code behind it, as it has timm's names and not its
  version: what changes gets another name. Of two modules of one name Python imports the first on
  its path. The working folder is not on it: `PYTHONPATH=. ablate run my.toml` puts it there.

`NAME_v1` is a bottleneck ResNet as first published, with the stride in the first 1×1 convolution;
torchvision's has it in the 3×3, which is the paper's ResNet-B. `NAME_small` has a 3×3 stem of
stride 1 and no max pool, for images of some 32 to 96 pixels. `seNAME` has squeeze and excitation at
reduction 16, as the trick `squeeze_excitation` puts it there. `resnet8` … `resnet110` (6n + 2
layers; not 18, 34, 50, …) and `wrnDEPTH_WIDTH` are those for CIFAR.

`ablate models show NAME` has the same figures for any model, also timm's and yours. `plan` and
`run` refuse in one line, with the exit code 2, a model that does not exist, that raises, that
returns no module or no logits, or that cannot take images of the recipe's size.

A function is code: it runs with your rights. `check` calls none and imports no module for it; it
looks whether the file is there and has the name, and says what it did not call. `plan` and `run`
print `calls FILE (model NAME)` before they do. With `--no-plugins` every command refuses it, as it
refuses plugins. A function of Python's own (`os:abort`) is always refused."""

SIZES = """\
Every ResNet, and one or two of each other family. With 1000 classes and auxiliary heads, at the
size that the model was made for; multiply-adds as in [cost.md](cost.md), of one image in
evaluation."""

TABLE_5 = """\
The variants of ResNet-50 in table 5 of He et al. (1812.01187), at 224 pixels and 1000 classes, each
row with the tricks above it. The paper prints two digits: its 25 M is 25.56 M cut off, its 3.8 is
3.858 cut off, and its 4.1 and 4.3 are 4.089 and 4.329 rounded; it counts a multiply-add once."""

SURGERY_TEXT = """\
Tricks that rebuild a model find their places by its structure, not by its name. Where they find
none the row is refused when planning (or idle, as a member of a bundle), never trained as if
nothing had happened. The last column has the bundled tricks that rebuild models, and `zero_gamma`,
each alone on the model with its defaults; those that are not there find nothing to do, and
`ablate models show NAME` says why. (`dropout` does where the model has a dropout of another p
before its classifier.) Every model has weights for `xavier_init` and parameters for
`no_bias_decay`. The blocks that count are relu(path + shortcut), whose path is convolution and norm
in turn: so not those of DenseNet, MobileNet, EfficientNet, ConvNeXt, wide ResNets for CIFAR (norm
first) and transformers."""

REST = """\
## Initial weights

Each layer draws from a stream of its own, named like the layer, so that surgery moves no other
layer's: convolutions as He et al. (2015), normal with fan-out; norms 1 and 0; linear layers as
torch's default. A model that has parameters besides these (position embeddings, layer scales,
biases of attention: transformers, ConvNeXt, many of timm's) starts as its own constructor draws it,
all from one stream of the seed; what surgery adds to it starts by the rules above. Weights that a
function of yours loads are replaced in the same way: to start from trained ones, write a trick that
wraps `init_model`.

## Sizes of images

A recipe without `image_size` takes the data set's, except for models made for one size:
`inception_v3` 299, `vit_*` and `maxvit_t` 224. These take no other, or, Inception in training, no
smaller one. timm's vision transformers do not either; set `image_size`.

## Auxiliary heads

`inception_v3` (weight 0.4) and `googlenet` (0.3 each, the paper's) have theirs in the training
loss. Each head's loss passes the same hooks; evaluation has none of them.

## Where implementations differ

- ResNet-B, C and D are the tricks `resnet_b`, `resnet_c` and `resnet_d` on `resnet50_v1`; together
  they are timm's `resnet50d`, output for output.
- `seresnet50` and `seresnext50_32x4d` are timm's of these names. For basic blocks timm rounds the
  channels within the excitation up to a multiple of 8 (64/16 = 4 becomes 8); ours are the paper's,
  as timm's `legacy_seresnet18` has them. timm's `legacy_seresnet50` is `seresnet50_v1` but for its
  max pool, which rounds up and does not pad.
- `mobilenet_v1` has the paper's ReLU, timm's ReLU6, and stride 1 in the last block, where the
  paper's table says 2 against its own feature sizes.
- ResNets for CIFAR have projections where the shape changes (option B); the paper's pad with zeros.
- `inception_v3` and `googlenet` are torchvision's; GoogLeNet has batch norm, which the paper's had
  not, and 3×3 where the paper has 5×5.

## Exact numerics on a GPU

With `numerics = "exact"` torch is told to use deterministic algorithms only, and it has none for
the gradient of an adaptive average pool on a GPU. VGG and AlexNet pool to 7×7 and 6×6 so,
GoogLeNet's heads to 4×4. There, and only there, the same averages are computed otherwise: not at
all where the features have that size, as equal cells where they divide, else as a product of
matrices. Other layers without a deterministic gradient (`interpolate`, reflection padding, adaptive
max pool), which some of timm's models and yours may have, are refused when planning. Which layers
these are was read from torch's documentation; their replacement is tested on a CPU, and has not
been run on a GPU yet."""
