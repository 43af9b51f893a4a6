"""The command line: one catch, one file a command.

What is imported here is imported for `ablate --help` too: typer and the standard library.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from ablate.errors import AblateError

_BROKEN_PIPE = 141  # 128 + SIGPIPE, as a program that the signal ends

# What the system says of a machine or of a path that was typed, wherever it is noticed.
_NO_BUGS = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EMFILE, errno.ENFILE),
        *(errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES, errno.EPERM, errno.EROFS),
    }
)


def main(args: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code. The one place where errors are caught."""
    try:
        from ablate.errors import AblateError, signal_of
    except KeyboardInterrupt:  # Ctrl-C so early that nothing has begun
        return 130

    _never_fail_to_print()
    arguments = list(sys.argv[1:] if args is None else args)
    try:
        with _ending_in_order() as told:
            code = _run(arguments)
        # typer makes 130 of every KeyboardInterrupt.
        return 128 + told[0] if told and code == 130 else code
    except AblateError as error:
        from ablate.cli.errors import report_error

        report_error(error, _options(arguments).output())
        return error.exit_code
    except KeyboardInterrupt as error:
        _flush_or_discard()
        return 128 + signal_of(error)
    except BrokenPipeError:
        _discard_output()  # its reader has gone
        return _BROKEN_PIPE
    except SystemExit as error:
        if not isinstance(error.__context__, BrokenPipeError):
            raise
        _discard_output()  # the same, where typer met it
        return _BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - the one catch: a bug is told, never dumped
        from ablate.cli.errors import BUG, report_bug, report_error

        options = _options(arguments)
        if _hung_up(error):
            _discard_output()
            return 128 + signal.SIGHUP
        if isinstance(error, OSError) and error.errno in _NO_BUGS:
            if error.filename is None:
                _discard_output()  # stdout may be a file on a full disk
            report_error(_refused_by_system(error), options.output())
            return AblateError.exit_code
        if (lacking := _out_of_memory(error)) is not None:
            report_error(lacking, options.output())
            return AblateError.exit_code
        report_bug(error, options.output(), options.store_path)
        return BUG


@contextlib.contextmanager
def _ending_in_order() -> Iterator[list[int]]:
    """Within, SIGTERM and SIGHUP (the terminal is gone) end a command as Ctrl-C does: temporary
    folders are removed, the cursor comes back. What is ignored stays so (`nohup`), and what the
    caller handles is his. What it gives holds the signal that came."""
    told: list[int] = []
    numbers = [
        number
        for name in ("SIGTERM", "SIGHUP")
        if (number := getattr(signal, name, None)) is not None
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(number) == signal.SIG_DFL
    ]

    def end(number: int, frame: FrameType | None) -> None:
        from ablate.errors import EndedBySignal

        for each in numbers:
            # Of a hang-up both the kernel and the shell tell; a second SIGTERM means it.
            hang_up = each == getattr(signal, "SIGHUP", None)
            signal.signal(each, signal.SIG_IGN if hang_up else signal.SIG_DFL)
        told.append(number)
        raise EndedBySignal(number)

    for number in numbers:
        signal.signal(number, end)
    try:
        yield told
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def _hung_up(error: Exception) -> bool:
    """Whether a result could not be printed because its terminal is gone."""
    if not isinstance(error, OSError) or error.errno != errno.EIO or error.filename is not None:
        return False
    return _is_dead_terminal(sys.stdout)


def _is_dead_terminal(stream: TextIO) -> bool:
    try:
        mode = os.fstat(stream.fileno()).st_mode
        return stat.S_ISCHR(mode) and not stream.isatty()  # asked for its settings, it fails too
    except (OSError, ValueError):
        return False


def _flush_or_discard() -> None:
    """What is printed so far, if anybody is there to read it."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        _discard_output()


def _refused_by_system(error: OSError) -> AblateError:
    from ablate.errors import AblateError

    reason = error.strerror or str(error)
    if error.filename is not None:
        short = "give a shorter path"
        place = "use another place: --store DIR, --data DIR, -o FILE"
        return AblateError(
            f"cannot use {os.fsdecode(error.filename)}: {reason[:1].lower()}{reason[1:]}",
            hint=short if error.errno == errno.ENAMETOOLONG else place,
        )
    if error.errno == errno.ENOSPC:
        return AblateError(
            "no space left to write the output", hint="free some space and run it again"
        )
    return AblateError(f"{reason[:1].lower()}{reason[1:]}", hint="ablate doctor checks the machine")


def _out_of_memory(error: Exception) -> AblateError | None:
    """What is said where memory, or a limit on it (`ulimit -v`), ended a command; else None."""
    from ablate.errors import AblateError

    library = "failed to map segment" in str(error) or "annot allocate memory" in str(error)
    if not isinstance(error, MemoryError) and not (library and isinstance(error, ImportError)):
        return None
    doing = "importing its libraries" if library else "what was asked"
    return AblateError(
        f"not enough memory for {doing}", hint="ulimit -v unlimited, or another machine"
    )


def _discard_output() -> None:
    """What is still buffered has nowhere to go."""
    from ablate.console.output import discard

    discard(sys.stdout)


def _run(arguments: list[str]) -> int:
    import typer

    from ablate.cli.errors import USAGE_ERROR, usage_error
    from ablate.cli.lazy import application

    try:
        code: Any = typer.main.get_command(application(arguments)).main(
            args=arguments, prog_name="ablate", standalone_mode=False
        )
    except USAGE_ERROR as error:
        raise usage_error(error) from None
    except typer.Abort:
        raise KeyboardInterrupt from None
    sys.stdout.flush()
    return code if isinstance(code, int) else 0


def _options(arguments: Sequence[str]) -> Any:
    """The options of every command as far as they can be read; for errors, so never one itself."""
    from ablate.cli.options import Options

    def value(name: str) -> str | None:
        for i, word in enumerate(arguments):
            if word == name and i + 1 < len(arguments):
                return arguments[i + 1]
            if word.startswith(f"{name}="):
                return word.partition("=")[2]
        return None

    color, store = value("--color"), value("--store")
    letters = [w for w in arguments if w.startswith("-") and not w.startswith("--")]
    return Options(
        color=color if color in ("auto", "always", "never") else None,
        store=Path(store) if store else None,
        verbose=sum(w.count("v") for w in letters if not w.strip("-qv")),
    )


def _never_fail_to_print() -> None:
    """A stream that was closed before the start (`2>&-`) goes nowhere; characters that a stream
    cannot encode are escaped, not an error."""
    # Python has None for them. Their numbers are taken, lest the next file be given one of them;
    # processes that are started get them too.
    if sys.stdin is None:
        sys.stdin = _nowhere(0)
    if sys.stdout is None:
        sys.stdout = _nowhere(1)
    if sys.stderr is None:
        sys.stderr = _nowhere(2)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _nowhere(descriptor: int) -> TextIO:
    opened = os.open(os.devnull, os.O_WRONLY if descriptor else os.O_RDONLY)
    if opened == descriptor:
        os.set_inheritable(descriptor, True)
    else:
        os.dup2(opened, descriptor)
        os.close(opened)
    return open(descriptor, "w" if descriptor else "r", encoding="utf-8", closefd=False)
