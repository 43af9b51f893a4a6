"""What is redrawn in place on a terminal, for as long as the terminal is ours.

While the process is stopped (Ctrl-Z) or runs in the background (`bg`, `&`) nothing is drawn, the
cursor is there, and the shell has its lines to itself; with `fg` the drawing comes back.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from ablate.util.job_control import draws, in_foreground, uninterrupted

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console, RenderableType
    from rich.live import Live


class Redrawn:
    """A drawing on a console, cleared away when it ends. A context manager.

    every: seconds between two drawings that a thread makes; None: drawn only by `refresh`.
    """

    def __init__(
        self,
        console: Console,
        drawing: RenderableType = "",
        *,
        every: float | None = None,
        slept: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        """slept: told how many seconds the process was stopped."""
        self._console = console
        self._drawing = drawing
        self._every = every
        self._slept = slept
        self._live: Live | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Redrawn:
        self._stack.enter_context(draws(self))
        try:
            self.appear()
        except BaseException:  # Ctrl-C at once: what is not entered is not left
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.suspend()
        self._stack.close()
        self.suspend()  # Ctrl-Z and `fg` in between have brought it back

    def appear(self) -> None:
        """Draw from now on if that has not begun and the terminal is ours."""
        if self._live is not None or not in_foreground(self._console.file):  # type: ignore[arg-type]
            return
        from rich.live import Live

        live = Live(
            self._drawing,
            console=self._console,
            auto_refresh=self._every is not None,
            refresh_per_second=1 / (self._every or 1),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        with uninterrupted():
            self._live = live  # first: Ctrl-C within `start` finds a cursor to bring back
            live.start()

    def refresh(self, drawing: RenderableType | None = None) -> None:
        """Draw, something else if it is given."""
        if drawing is not None:
            self._drawing = drawing
        self.appear()
        with uninterrupted():
            if self._live is not None:
                self._live.update(self._drawing, refresh=True)

    def suspend(self) -> None:
        """Clear it away."""
        with uninterrupted():
            if self._live is not None:
                live, self._live = self._live, None
                live.stop()

    def go_on(self, seconds: float) -> None:
        """See `job_control.Drawn`."""
        self._slept(seconds)
        self.appear()
