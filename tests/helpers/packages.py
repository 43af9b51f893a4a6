"""Distributions of tricks as an installer leaves them, sound and broken ones."""

from __future__ import annotations

from pathlib import Path

TRICK = '''
"""A trick."""
from typing import ClassVar
from ablate import Trick, hookimpl

class MyTrick(Trick):
    """Does little."""
    share: float = 0.5
    version: ClassVar[int | None] = {version}

    @hookimpl
    def extra_metrics(self):
        return {{"share": self.share}}

class Another(MyTrick):
    """Does as little."""
'''


def offering(
    folder: Path, name: str, *lines: str, module: str = "", version: int | None = None
) -> None:
    """A distribution in a folder of its own: `lines` of entry points, and one module of tricks."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join(["[ablate.tricks]", *lines, ""]))
    code = TRICK.format(version=version)
    (folder / f"{module or name.replace('-', '_')}.py").write_text(code)


def break_bytes(info: Path) -> None:
    (info / "entry_points.txt").write_bytes(b"[console_scripts]\nna\xefve = a:b\n")


def break_line(info: Path) -> None:
    (info / "entry_points.txt").write_text("[console_scripts]\nno entry\n")
