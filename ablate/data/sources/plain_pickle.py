"""Pickles of numbers, texts, lists, dicts and arrays, as CIFAR's files are: nothing is called.

A pickle is a program. This reader lets it name no function but those that a pickled array needs,
which are stand-ins here; and looks at every step of it first, since a few bytes can tell
`pickle` to make room for gigabytes.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_STEPS: Final = 4_000_000  # of CIFAR-100's training file there are 250,000
_TYPE: Final = re.compile("[iu][1248]")
_MAKES_OBJECTS: Final = frozenset({"INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4"})
_MEMO: Final = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})


def loads(data: bytes) -> Any:
    """What the pickle holds; arrays are NumPy's. Raises ValueError for anything else."""
    try:
        _check(data)
        return _finished(_Plain(io.BytesIO(data), encoding="bytes").load())
    except ValueError:
        raise
    except Exception as error:  # pickle raises anything for damaged bytes
        raise ValueError(f"{type(error).__name__}: {str(error)[:80]}") from error


def _check(data: bytes) -> None:
    """Raise ValueError for a step that no array, text or list needs, or that asks for room."""
    for number, (step, argument) in enumerate(_steps(data)):
        if number > _STEPS:
            raise ValueError(f"it has more than {_STEPS:,} parts")
        if step.name in _MAKES_OBJECTS:
            raise ValueError("it makes objects, which no file of CIFAR does")
        # A place in the memo: there is room for as many as the largest says.
        if step.name in _MEMO and int(argument) > number:
            raise ValueError(f"it claims {argument:,} parts")


def _steps(data: bytes) -> Iterator[tuple[pickletools.OpcodeInfo, Any]]:
    try:
        for step, argument, _ in pickletools.genops(io.BytesIO(data)):
            yield step, argument
    except ValueError as error:
        raise ValueError(f"no pickle, or not all of it: {str(error)[:80]}") from None


def _finished(value: Any) -> Any:
    """Dicts and lists with arrays in place of their stand-ins, two levels deep."""
    if isinstance(value, dict):
        return {key: _whole(inner) for key, inner in value.items()}
    return _whole(value)


def _whole(value: Any) -> Any:
    return value.array() if isinstance(value, _Array) else value


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise ValueError(f"it names {module}.{name}, which no file of CIFAR does"[:200])
        return _KNOWN[module, name]


# Instances without a place for attributes, which a pickle can set; and no classes.
class _Kind:
    """Stands for `numpy.ndarray`, which the pickle could call."""

    __slots__ = ()


class _Latin1:
    """Bytes that Python 3 wrote in an old format."""

    __slots__ = ()

    def __call__(self, text: str, encoding: str) -> bytes:
        if encoding != "latin1":
            raise ValueError(f"it encodes with {encoding[:20]!r}")
        return text.encode("latin1")


class _Dtype:
    __slots__ = ()

    def __call__(self, code: Any, *_: Any) -> _Type:
        return _Type(code)


class _Reconstruct:
    """An empty array, which the pickle then fills."""

    __slots__ = ()

    def __call__(self, kind: Any, shape: Any, code: Any) -> _Array:
        if kind is not _KIND:
            raise ValueError("it makes an array of another kind")
        return _Array()


_KIND: Final = _Kind()
_KNOWN: Final = {
    ("numpy.core.multiarray", "_reconstruct"): _Reconstruct(),
    ("numpy._core.multiarray", "_reconstruct"): _Reconstruct(),
    ("numpy", "ndarray"): _KIND,
    ("numpy", "dtype"): _Dtype(),
    ("_codecs", "encode"): _Latin1(),
}


class _Type:
    """The type of an array's numbers: integers, as the bytes that they are stored in."""

    def __init__(self, code: Any) -> None:
        code = code.decode("latin1") if isinstance(code, bytes) else code
        if not isinstance(code, str) or not _TYPE.fullmatch(code):
            raise ValueError(f"it holds an array of type {str(code)[:20]!r}, not of integers")
        self._code, self._order = code, "<"

    def __setstate__(self, state: Any) -> None:
        order = state[1].decode("latin1") if isinstance(state[1], bytes) else state[1]
        if order not in ("<", ">", "|"):
            raise ValueError("it holds an array in no known order of bytes")
        self._order = order

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy's."""
        return np.dtype(self._order + self._code)


class _Array:
    """An array before and after its contents have come."""

    def __init__(self) -> None:
        self._state: Any = None

    def __setstate__(self, state: Any) -> None:
        self._state = state

    def array(self) -> NDArray[Any]:
        """The array, over the bytes that are there: as many as its shape says, or ValueError."""
        _, shape, kind, by_columns, data = self._state
        counts = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)
        if not counts or len(shape) > 8 or not isinstance(kind, _Type):
            raise ValueError("it holds an array without a shape or a type")
        if not isinstance(data, bytes) or math.prod(shape) * kind.dtype.itemsize != len(data):
            raise ValueError(f"it holds an array of shape {list(shape)}, and not its bytes")
        flat = np.frombuffer(data, dtype=kind.dtype)
        return flat.reshape(shape, order="F" if by_columns else "C")
