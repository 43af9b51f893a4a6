"""The recipe: every setting of one training that is not a trick."""

from __future__ import annotations

from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
)


class Frozen(BaseModel):
    """A value object: frozen, keyword-only, unknown keys refused, TOML types not coerced."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _number(value: float) -> float:
    try:
        return value + 0.0  # an integer becomes a float, and -0.0 becomes 0.0
    except OverflowError as error:
        raise ValueError("is larger than any number of 64 bits") from error


Number = StrictFloat | StrictInt  # TOML writes 1 and 1.0; both are a number
# The key has one form for both, so what trains, and every trick, gets one value: a float.
_Float = AfterValidator(_number)
Positive = Annotated[Number, Field(gt=0), _Float]
NotNegative = Annotated[Number, Field(ge=0), _Float]
Fraction = Annotated[Number, Field(ge=0, le=1), _Float]
Count = Annotated[StrictInt, Field(ge=1, le=1_000_000)]
Pixels = Annotated[StrictInt, Field(ge=1, le=4096)]
Finite = Annotated[Number, _Float]
Channel3 = tuple[Finite, Finite, Finite]


Spread = tuple[Positive, Positive, Positive]


def _ascending(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        raise ValueError(f"{list(pair)} is a range that ends before it begins")
    return pair


class StepSchedule(Frozen):
    """Learning rate × `gamma` at each of `milestones`, given as fractions of the training."""

    milestones: tuple[Annotated[Number, Field(gt=0, lt=1), _Float], ...] = (0.25, 0.5, 0.75)
    gamma: Annotated[Number, Field(gt=0, le=1), _Float] = 0.1


class Crop(Frozen):
    """Random-resized crop: area share drawn from `scale`, aspect ratio log-uniform in `ratio`."""

    scale: Annotated[tuple[Fraction, Fraction], AfterValidator(_ascending)] = (0.08, 1.0)
    ratio: Annotated[tuple[Positive, Positive], AfterValidator(_ascending)] = (3 / 4, 4 / 3)


class Recipe(Frozen):
    """Settings of one training. Those that default to None are filled from data set and model.

    `Recipe.model_validate` takes the TOML's values; after `ablate.design` has resolved it no field
    is None, and its `model_dump(mode="json")` is part of the trial's key.
    """

    model: StrictStr = Field(description="name from `ablate models`, or package.module:function")
    epochs: Count = Field(20, description="passes over the training images")
    batch_size: Count = Field(64, description="images per optimizer step")
    lr: Positive = Field(0.025, description="peak learning rate at this batch size")
    momentum: Annotated[Number, Field(ge=0, lt=1), _Float] = Field(0.9, description="SGD momentum")
    nesterov: StrictBool = Field(True, description="Nesterov momentum, as torch.optim.SGD has it")
    weight_decay: NotNegative = Field(1e-4, description="L2 penalty, on every parameter")
    schedule: StepSchedule = Field(
        default_factory=StepSchedule, description="step decay, milestones as fractions"
    )
    micro_batches: Count = Field(1, description="a batch is split in so many, gradients added")
    image_size: Pixels | None = Field(None, description="side of a training image, pixels")
    eval_size: Pixels | None = Field(None, description="side of an evaluation image, pixels")
    eval_resize: Pixels | None = Field(
        None, description="short side before the centre crop; 256/224 of eval_size if not given"
    )
    crop: Crop | None = Field(None, description="random-resized crop of the training images")
    flip: Fraction | None = Field(None, description="probability of a horizontal flip")
    mean: Channel3 | None = Field(None, description="subtracted per channel, in [0, 255]")
    std: Spread | None = Field(None, description="divided by per channel, in [0, 255]")
