"""Where a training is: written where it can be read when its process hangs, or is no more.

A worker and the coordinator share a page of memory, with a place for each trial that runs at once.
A trial counts its signs of life there (a step, a batch, a hook entered or left) and writes what it
is doing. No message could say it as well: a process that hangs in C, was stopped or was killed
sends none. Writing costs less than a microsecond, so every hook call is written.

No torch here: the coordinator reads.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_HEAD: Final = struct.Struct("=QIIQH")  # signs of life, process, epoch from 1, step, text's length
_NAME: Final = 64  # bytes of the attempt's name
_TEXT: Final = 400  # bytes of what is done
SIZE: Final = 512  # bytes of a trial's place
_TEXT_AT: Final = _HEAD.size + _NAME


@dataclass(frozen=True)
class Place:
    """What is known of a trial. signs: of life so far. pid: 0 before its process has it. attempt:
    "" before there is one. epoch: from 1, 0 before the first. step: of the epoch, from 1, 0 between
    steps. doing: "in on_step_end of trick 'x'", "reading training images"."""

    signs: int = 0
    pid: int = 0
    attempt: str = ""
    epoch: int = 0
    step: int = 0
    doing: str = ""

    def __str__(self) -> str:
        """ "in epoch 3, step 17, in on_step_end of trick 'x'"; "" where nothing is known."""
        parts = [f"in {self.when}"] if self.epoch else []
        parts += [self.doing] if self.doing else []
        return ", ".join(parts)

    def after(self, text: str) -> str:
        """With a text before it; "" where nothing is known."""
        return f"{text}{self}" if self.epoch or self.doing else ""

    @property
    def when(self) -> str:
        """ "epoch 3, step 17"; "" before the first epoch."""
        step = f", step {self.step}" if self.step else ""
        return f"epoch {self.epoch}{step}" if self.epoch else ""


class Board:
    """The page that an executor shares with its worker: `slots` places, read by number."""

    def __init__(self, slots: int) -> None:
        # Written and not only made longer: where the disk is full, memory that is mapped would end
        # the process that touches it.
        if hasattr(os, "memfd_create"):
            self.descriptor = os.memfd_create("ablate-whereabouts")
            os.write(self.descriptor, bytes(slots * SIZE))
        else:
            with tempfile.TemporaryFile() as file:
                file.write(bytes(slots * SIZE))
                file.flush()
                self.descriptor = os.dup(file.fileno())
        self._page = mmap.mmap(self.descriptor, slots * SIZE)
        self.close = weakref.finalize(self, os.close, self.descriptor)

    def clear(self, slot: int) -> None:
        """Forget who was there: another trial is about to be."""
        self._page[slot * SIZE : (slot + 1) * SIZE] = bytes(SIZE)

    def read(self, slot: int) -> Place:
        """What a trial has written; of one that runs, text may be half of two things."""
        place = self._page[slot * SIZE : (slot + 1) * SIZE]
        signs, pid, epoch, step, length = _HEAD.unpack_from(place)
        name = place[_HEAD.size : _TEXT_AT].rstrip(b"\0").decode("ascii", "replace")
        text = place[_TEXT_AT : _TEXT_AT + min(length, _TEXT)].decode("utf-8", "replace")
        return Place(signs, pid, name, epoch, step, text)


class Whereabouts:
    """A trial's own place; memory of its own where nobody shares one."""

    def __init__(self) -> None:
        self._use(bytearray(SIZE), 0)

    def _use(self, page: bytearray | mmap.mmap, slot: int) -> None:
        self._page = page
        self._start = slot * SIZE
        self._signs = self._pid = self._epoch = self._step = 0
        self._text = b""

    def share(self, descriptor: int) -> None:
        """Write into an executor's page from now on; `descriptor` may be closed afterwards."""
        self._use(mmap.mmap(descriptor, os.fstat(descriptor).st_size), 0)

    def begin(self, slot: int) -> None:
        """A trial begins in this process, in that place."""
        page = self._page if (slot + 1) * SIZE <= len(self._page) else bytearray((slot + 1) * SIZE)
        self._use(page, slot)
        self._pid = os.getpid()
        self._put()

    def attempt(self, name: str) -> None:
        """What its attempt is called."""
        at = self._start + _HEAD.size
        self._page[at : at + _NAME] = name.encode("ascii", "replace")[:_NAME].ljust(_NAME, b"\0")
        self.sign()

    def epoch(self, epoch: int) -> None:
        """An epoch, from 1, is about to begin."""
        self._epoch = epoch
        self._put()

    def step(self, step: int) -> None:
        """A step of the epoch, from 1, is about to begin; 0: the last one is over."""
        self._step = step
        self._put()

    def sign(self) -> None:
        """It lives."""
        self._put()

    def enter(self, doing: bytes) -> bytes:
        """It does this now; returns what it did before, for `leave`."""
        before, self._text = self._text, doing[:_TEXT]
        at = self._start + _TEXT_AT
        self._page[at : at + len(self._text)] = self._text
        self._put()
        return before

    def leave(self, before: bytes) -> None:
        """It does what it did before."""
        self.enter(before)

    @contextlib.contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """For a while it does this."""
        before = self.enter(what.encode())
        try:
            yield
        finally:
            self.leave(before)

    @property
    def place(self) -> Place:
        """As others would read it."""
        text = self._text.decode("utf-8", "replace")
        return Place(self._signs, self._pid, "", self._epoch, self._step, text)

    def _put(self) -> None:
        self._signs += 1
        _HEAD.pack_into(
            self._page,
            self._start,
            self._signs,
            self._pid,
            self._epoch,
            self._step,
            len(self._text),
        )


here = Whereabouts()  # this process's


def in_hook(trick: str, hook: str) -> bytes:
    """What a trial does that calls a trick's hook, for `enter`."""
    return f"in {hook} of trick '{trick}'".encode()
