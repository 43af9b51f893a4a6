"""Hand-made blocks of every kind, and the tables they stand below."""

from __future__ import annotations

from dataclasses import replace

from ablate.report.model import Block, BlockCell, BlockLine
from ablate.stats import Effect


def effect(delta: float, se: float = 0.002, p: float = 0.01, verdict: str | None = None) -> Effect:
    return Effect(
        delta=delta,
        se=se,
        df=8,
        low=delta - 0.0046,
        high=delta + 0.0046,
        low_inner=delta - 0.0037,
        high_inner=delta + 0.0037,
        p=p,
        p_equivalence=0.4,
        p_holm=min(1.0, 3 * p),
        verdict=verdict,  # type: ignore[arg-type]
    )


def cell(delta: float, **more: object) -> BlockCell:
    found = effect(delta, **more)  # type: ignore[arg-type]
    return BlockCell(delta, found.low, found.high, found)


FACTORIAL = Block(
    name="factorial",
    title="Main effects and pair interactions",
    heads=("effect",),
    lines=(
        BlockLine("warmup", (cell(0.012, verdict="gain"),), "gain", "gain"),
        BlockLine("mixup", (cell(-0.00004, p=0.9),), "unresolved", "unresolved"),
        BlockLine("warmup × mixup", (cell(-0.0112, p=0.03),), "unresolved", "unresolved", True),
    ),
    judged=0,
    comparisons=3,
    caption=("Main effect: mean over the other tricks, in points.", "Intervals are not corrected."),
)
ATTRIBUTION = Block(
    name="attribution",
    title="Alone, left out, and the difference",
    heads=("alone", "left out", "difference", "Shapley"),
    lines=(
        BlockLine(
            "warmup",
            (cell(0.012), cell(0.004), cell(-0.008), cell(0.008)),
            "gain",
            "gain",
            word="less together",
        ),
        BlockLine(
            "zero_gamma",
            (cell(0.002), cell(0.013), cell(0.011), BlockCell(0.0075)),
            "unresolved",
            "unresolved",
            word="more together",
        ),
        BlockLine("mixup", (cell(0.002), None, None, BlockCell(None)), "incomplete", "incomplete"),
    ),
    judged=2,
    comparisons=3,
    caption=("Shapley values add up to the full set minus the baseline.",),
)
DATA_SETS = Block(
    name="data_sets",
    title="imagenette and imagewoof",
    heads=("mean Δ", "difference"),
    lines=(BlockLine("+ mixup", (cell(0.004), cell(-0.0142))),),
    caption=("On these data sets, not on others.",),
)
NEW_IMAGES = Block(
    name="new_images",
    title="For new images too",
    heads=("this test set", "new images"),
    lines=(BlockLine("+ warmup", (cell(0.0036), BlockCell(0.0036, -0.011, 0.0182))),),
    caption=("The second interval holds for other images of the same source as well.",),
)


def classes(number: int = 10, label: str = "class") -> Block:
    return Block(
        name="classes",
        title="Accuracy by class",
        heads=("baseline", "+ zero_gamma"),
        lines=tuple(
            BlockLine(f"{label} {i}", (BlockCell(0.5 + 0.4 * i / number), BlockCell(0.91)))
            for i in range(number)
        ),
        signed=False,
        caption=("Mean over seeds, per cent.",),
    )


ALL = (FACTORIAL, ATTRIBUTION, DATA_SETS, NEW_IMAGES, classes())


def named(label: str) -> Block:
    """A block with one text everywhere a text may stand."""
    line = BlockLine(label, (cell(0.012), cell(0.01)), "gain", "gain", True, word=label)
    return Block(
        "attribution", label, (label, "Δ"), (line, replace(line, label="x")), True, 0, 2, (label,)
    )


def below(tables: list, *blocks: Block) -> list:
    """The tables with blocks below the first."""
    return [replace(tables[0], blocks=blocks), *tables[1:]]
