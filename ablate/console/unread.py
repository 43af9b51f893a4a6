"""Streams whose reader may leave: what is told to a person must not stop a training."""

from __future__ import annotations

import contextlib
import os
from typing import Any, TextIO


class Unread:
    """Writes to `stream` for as long as that works, and then in silence: a closed pipe (`| head`),
    a terminal that is gone, a log on a full disk."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """As a text stream's; never fails for want of a reader."""
        try:
            return self._stream.write(text)
        except OSError:
            discard(self._stream)
            return len(text)

    def flush(self) -> None:
        """As a text stream's."""
        try:
            self._stream.flush()
        except OSError:
            discard(self._stream)

    def __getattr__(self, name: str) -> Any:  # isatty, fileno, encoding
        return getattr(self._stream, name)


def discard(stream: TextIO) -> None:
    """From now on `stream` goes nowhere, what it still holds included: Python would complain of
    that when it exits."""
    with contextlib.suppress(OSError, ValueError):  # it may have no descriptor
        descriptor = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
