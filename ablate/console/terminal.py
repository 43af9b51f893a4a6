"""What a stream can show: colour, symbols, width, a live view."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TextIO

Color = Literal["auto", "always", "never"]
DEFAULT_WIDTH = 100


@dataclass(frozen=True)
class Terminal:
    """interactive: a person's terminal (CI is none). live: it can be redrawn."""

    interactive: bool
    color: bool
    unicode: bool
    width: int
    live: bool


def look_at(stream: TextIO, color: Color = "auto", env: Mapping[str, str] = os.environ) -> Terminal:
    """What `stream` can show. `color` is `--color`, which overrides the environment."""
    is_terminal = stream.isatty()
    dumb = env.get("TERM") == "dumb"
    interactive = is_terminal and not env.get("CI")
    return Terminal(
        interactive=interactive,
        color=_color(color, is_terminal and not dumb, env),
        unicode=_unicode(stream, dumb, env),
        width=_width(stream, interactive, env),
        live=interactive and not dumb,
    )


def _color(color: Color, capable: bool, env: Mapping[str, str]) -> bool:
    if color != "auto":
        return color == "always"
    if env.get("FORCE_COLOR"):
        return True
    return capable and not env.get("NO_COLOR")


def _unicode(stream: TextIO, dumb: bool, env: Mapping[str, str]) -> bool:
    encoding = (getattr(stream, "encoding", None) or "").lower().replace("-", "").replace("_", "")
    return encoding.startswith("utf8") and not dumb and env.get("ABLATE_ASCII") != "1"


def _width(stream: TextIO, interactive: bool, env: Mapping[str, str]) -> int:
    if interactive:
        try:
            if (columns := os.get_terminal_size(stream.fileno()).columns) > 0:
                return columns
        except (OSError, ValueError):  # a stream without a descriptor
            pass
    said = env.get("COLUMNS", "")
    return int(said) if said.isdecimal() and int(said) > 0 else DEFAULT_WIDTH
