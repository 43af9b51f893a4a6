"""The command line in this process, under a time limit."""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NamedTuple

import pytest

from ablate.cli.main import main

REACHED = 1000  # the command would train


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


class Hang(BaseException):
    """It took longer than it may."""


class Trains(BaseException):
    """It went so far that it would train now."""


def stop_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that would train end with REACHED: what is refused is refused before."""
    from ablate.execution.executor import Workers
    from ablate.tricks import discovery

    def start(self: Workers, trials: int) -> None:
        raise Trains

    monkeypatch.setattr(Workers, "start", start)
    # What is installed does not change meanwhile, and looking takes as long as all the rest.
    monkeypatch.setattr(discovery, "_remembered", [discovery.installed()])


def call(words: Sequence[str], seconds: int = 10) -> Ended:
    """`main(words)`, with its output.

    Raises `Hang` after so many seconds of processor time, or 20 times as many of waiting: the
    machine has other work.
    """

    def late(number: int, frame: FrameType | None) -> None:
        raise Hang

    out = io.TextIOWrapper(io.BytesIO(), "utf-8")
    err = io.TextIOWrapper(io.BytesIO(), "utf-8")
    streams = sys.stdin, sys.stdout, sys.stderr
    previous = [
        (number, signal.signal(number, late)) for number in (signal.SIGALRM, signal.SIGPROF)
    ]
    sys.stdin, sys.stdout, sys.stderr = io.StringIO(), out, err
    signal.alarm(20 * seconds)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        code = main(words)
    except Trains:
        code = REACHED
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    finally:
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdin, sys.stdout, sys.stderr = streams
        for number, handler in previous:
            signal.signal(number, handler)
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode("utf-8"))  # type: ignore[attr-defined]
    return Ended(code, *texts)
