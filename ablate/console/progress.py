"""Progress of what comes before training: decoding a data set, downloading one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ablate.console.live_view import bar
from ablate.console.output import styled
from ablate.util.text import duration, pad

if TYPE_CHECKING:
    from ablate.console.output import Output
    from ablate.console.redrawn import Redrawn

_CELLS = 34
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class Progress:
    """A line that is redrawn on a terminal; nothing is shown elsewhere."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._live: Redrawn | None = None
        self._began = time.monotonic()
        self._told = 0.0

    def __enter__(self) -> Progress:
        output = self._output
        if output.err.live and output.quiet == 0 and not output.json:
            from ablate.console.redrawn import Redrawn

            self._live = Redrawn(output.stderr).__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.__exit__()

    def update(self, name: str, doing: str, done: int, total: int | None, amount: str) -> None:
        """`done` of `total`; `amount` is that in words."""
        now = time.monotonic()
        if self._live is None or now - self._told < 0.1:
            return

        self._told = now
        spinner = _SPINNER[int(now * 10) % len(_SPINNER)] if self._output.err.unicode else "-"
        drawn = f"  {bar(done / total, _CELLS)}" if total else ""
        left = ""
        if total and done > 0.02 * total:
            left = f"  {duration((now - self._began) / done * (total - done))} left"
        line = f"{spinner} {pad(name, 10)}  {doing}{drawn}  {amount}{left}"
        self._live.refresh(styled(line, self._output.err))

    def finish(self, line: str) -> None:
        """A line that stays."""
        self._began = time.monotonic()
        self._output.note([("✓", "good"), (f" {line}", "")])
