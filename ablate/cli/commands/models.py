"""`ablate models`, `ablate models show NAME`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from ablate.cli.app import command, group
from ablate.cli.options import Options
from ablate.models.catalogue import model_info, model_names

HELP = """\
List the models that a study may name.

Usage: ablate models [options]
       ablate models show NAME
Example    ablate models show resnet50

Models are also: timm/NAME, with timm installed, and package.module:function, your own.
"""

SHOW = """\
Show one model: its size and cost, where tricks can act on it, and which find nothing to do.

Usage: ablate models show NAME [options]
Example    ablate models show resnet50
"""


@group("models", HELP)
def models(options: Options) -> None:
    """List them."""
    output = options.output()
    infos = [model_info(name) for name in model_names()]
    if output.json:
        output.document({"models": [asdict(info) for info in infos]})
        return
    rows = [["model", "family", "what it is"]]
    rows += [[info.name, info.family, info.summary] for info in infos]
    head, *lines = output.table(rows)
    output.result([(head, "dim")], *lines)
    output.note([("also timm/NAME (pip install timm) and package.module:function", "dim")])


@command("models show", SHOW)
def show(options: Options, name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """Show one."""
    output = options.output()
    model_info(name)  # an unknown name is refused before torch is imported
    from ablate.planning.model_card import describe_model

    card = describe_model(name)
    if output.json:
        output.document({"model": asdict(card)})
        return
    size = f"{card.parameters / 1e6:.1f} M parameters"
    cost = f"{card.macs / 1e9:.2g} GMACs" if card.macs else "GMACs not known"
    at = f"at {card.image_size} px, {card.num_classes:,} classes"
    parts = [f"{card.name}: {card.summary}", size, f"{cost} {at}"]
    output.result([(" · ".join(parts), "bold")])
    found = [
        (bool(card.stem), "stem"),
        (card.shortcuts > 0, f"{card.shortcuts} shortcuts" if card.shortcuts else "shortcuts"),
        (card.blocks > 0, f"{card.blocks} residual blocks" if card.blocks else "residual blocks"),
        (card.classifier is not None, f"classifier ({card.classifier})" if card.classifier else
         "classifier"),
    ]  # fmt: skip
    marks: list[tuple[str, str]] = [("  surgery     ", "")]
    for there, what in found:
        marks += [("✓" if there else "✗", "good" if there else "worse"), (f" {what}   ", "")]
    output.result(marks)
    for i, (trick, reason) in enumerate(card.no_fit):
        output.result(f"  {'no fit' if i == 0 else '':<12}{trick}: {reason}")
    output.result(f'  {"in a study":<12}model = "{card.name}"')
