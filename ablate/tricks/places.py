"""Where something of a trick's stands: file and line, as messages end with."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Final

from ablate.util.text import one_line

_OURS: Final = str(Path(__file__).parents[1])


def place(function: Any) -> str:
    """ " (my_trick.py:12)": where a function begins; "" of what has no code of its own."""
    if not hasattr(function, "__code__"):  # a method has its function's, an object its class's
        function = getattr(type(function), "__call__", None)  # noqa: B004 - what is called
    code = getattr(function, "__code__", None)
    if code is None or code.co_filename.startswith(_OURS):
        return ""
    return _shown(code.co_filename, code.co_firstlineno)


def standing(generator: Any) -> str:
    """ " (my_trick.py:14)": where a generator waits."""
    frame = getattr(generator, "gi_frame", None)
    return _shown(frame.f_code.co_filename, frame.f_lineno) if frame is not None else ""


def raised(error: BaseException) -> str:
    """ " (my_trick.py:14)": the last line reached in the first file that is not ablate's."""
    found: tuple[str, int] | None = None
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if (found is None and not file.startswith(_OURS)) or (found and found[0] == file):
            found = file, trace.tb_lineno
        trace = trace.tb_next
    return _shown(*found) if found is not None else ""


def _shown(file: str, line: int) -> str:
    return f" ({one_line(Path(file).name)}:{line})"
