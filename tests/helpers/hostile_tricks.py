"""Tricks that end, block, flood or strip the process they train in."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from ablate import Trick, hookimpl

HOSTILE = "\x1b[31mred\x1b[0m \u202egnihton\u202c [bold]b[/] <b>&amp;</b> \\textbf{x} |\r\n\x07ü"


class Quits(Trick):
    """Ends its process without a word, as if all were well."""

    @hookimpl
    def on_step_end(self) -> None:
        os._exit(0)


class Aborts(Trick):
    """Aborts, as an assertion in C does."""

    @hookimpl(wrapper=True)
    def encode_targets(self) -> Any:
        yield
        os.abort()


class Crashes(Trick):
    """Reads where no memory is."""

    @hookimpl
    def on_epoch_end(self) -> None:
        ctypes.string_at(0)


class Shouts(Trick):
    """Raises a message of 1 MB in somebody else's markup, after as much on its streams."""

    @hookimpl
    def on_step_end(self) -> None:
        print(HOSTILE * 1000)
        print(HOSTILE * 1000, file=sys.stderr)
        os.write(1, b"\xff\xfe\x00" + HOSTILE.encode() * 1000)
        raise ValueError(HOSTILE + "x" * (1 << 20))


class Floods(Trick):
    """Prints 20 MB without a line's end, and trains on."""

    @hookimpl
    def on_epoch_start(self) -> None:
        for _ in range(20):
            os.write(2, b"\x1b[2J" + b"." * 1_000_000)


class Strips(Trick):
    """Closes the files of its process that it can guess."""

    @hookimpl
    def on_epoch_start(self) -> None:
        os.closerange(0, 10)


class Forks(Trick):
    """Forks, and lets the child go on as if it were the trial."""

    @hookimpl
    def on_epoch_start(self) -> None:
        os.fork()


class Litters(Trick):
    """Starts what outlives it."""

    @hookimpl
    def on_epoch_start(self) -> None:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1e6)"])


class Removes(Trick):
    """Deletes the folder of its own attempt."""

    @hookimpl
    def on_epoch_end(self) -> None:
        for place in Path("/proc/self/fd").iterdir():
            target = Path(os.readlink(place))
            if target.name == "metrics.jsonl":
                shutil.rmtree(target.parent)
                return


class Scribbles(Trick):
    """Writes into the store what does not belong there."""

    @hookimpl
    def on_epoch_end(self) -> None:
        for place in Path("/proc/self/fd").iterdir():
            target = Path(os.readlink(place))
            if target.name == "metrics.jsonl":
                store = target.parents[3]
                (store / "results.duckdb").write_bytes(b"not a database" * 99)
                (store / "trials" / "notakey").mkdir(exist_ok=True)
                (store / "trials" / "notakey" / "done.json").write_text("{")
                (store / "studies" / "tiny.json").write_text("[[[")
                with target.open("ab") as file:
                    file.write(b"\x00\xff not a line\n")
                return


class Greedy(Trick):
    """Asks for more memory than there is."""

    @hookimpl
    def on_step_end(self) -> None:
        torch.empty(1 << 50, dtype=torch.uint8)


class Simulated(Trick):
    """Raises what CUDA raises when its memory is full."""

    @hookimpl(wrapper=True)
    def forward(self) -> Any:
        yield
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.10 GiB. <b>GPU</b> 0")


class Limited(Trick):
    """Lowers the address space that its process may use, then asks for some."""

    @hookimpl
    def on_step_end(self) -> None:
        import resource

        used = int(Path("/proc/self/statm").read_text().split()[0]) * 4096
        resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20),) * 2)
        torch.ones(1 << 30, dtype=torch.uint8)


class Killed(Trick):
    """Is killed as the kernel kills who takes too much memory."""

    @hookimpl
    def on_step_end(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


# Those that hang.


class Sleeps(Trick):
    """Sleeps in a hook."""

    @hookimpl
    def on_step_end(self) -> None:
        time.sleep(1e6)


class Spins(Trick):
    """Turns round in Python, deaf to every signal that can be blocked; politely, of a test."""

    @hookimpl(wrapper=True)
    def forward(self) -> Any:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while True:
            time.sleep(0.01)
        yield


class Holds(Trick):
    """Waits in C for itself, and holds Python's lock."""

    @hookimpl
    def on_epoch_end(self) -> None:
        library, mutex = ctypes.PyDLL(None), ctypes.create_string_buffer(64)
        library.pthread_mutex_lock(mutex)
        library.pthread_mutex_lock(mutex)


class Stops(Trick):
    """Stops its process, as Ctrl-Z would."""

    @hookimpl
    def on_step_end(self) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(1e6)


class Starves(Trick):
    """Waits for images that never come, as a loader whose processes wait for each other."""

    @hookimpl
    def augmentations(self) -> Any:
        from multiprocessing import get_context

        from ablate import Augmentation

        queue = get_context("fork").Queue()
        return [Augmentation("colour", self.name, 1, lambda images, u, size: queue.get())]


class Loads(Trick):
    """Never comes back from being made."""

    def model_post_init(self, context: Any) -> None:
        if "ablate.execution.trainer" in sys.orig_argv:
            time.sleep(1e6)
