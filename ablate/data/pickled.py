"""The Python version of CIFAR: pickles, read without letting them call anything."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PIXELS = 3 * 32 * 32
# What stands for the binary version's files; the others lose their ".bin".
_META = {"batches.meta.txt": "batches.meta", "fine_label_names.txt": "meta"}


def pickled_name(binary: str) -> str:
    """ "data_batch_1.bin" → "data_batch_1"."""
    return _META.get(binary) or binary.removesuffix(".bin")


def as_binary(data: bytes, labels: int) -> bytes:
    """The same file of the binary version: class names by line, or records with `labels` bytes.

    Raises ValueError for anything that is not such a file.
    """
    try:
        document = _Plain(io.BytesIO(data), encoding="bytes").load()
    except ValueError:
        raise
    except Exception as error:  # pickle raises anything for damaged bytes
        raise ValueError(f"{type(error).__name__}: {error}") from error
    if not isinstance(document, dict):
        raise ValueError(f"a {type(document).__name__}")  # noqa: TRY004 - of the bytes, not of us
    fields = {_text(key): value for key, value in document.items()}
    for key in ("fine_label_names", "label_names"):
        if key in fields:
            return "\n".join(_text(name) for name in fields[key]).encode()
    names = ("labels",) if labels == 1 else ("coarse_labels", "fine_labels")
    missing = [key for key in ("data", *names) if key not in fields]
    if missing:
        raise ValueError(f"no '{missing[0]}'")
    pixels = _bytes(fields["data"])
    if pixels.ndim != 2 or pixels.shape[1] != _PIXELS:
        raise ValueError(f"pixels of shape {list(pixels.shape)}")
    columns = [_bytes(fields[name]) for name in names]
    if any(column.shape != (len(pixels),) for column in columns):
        raise ValueError(f"{len(pixels)} images, but labels of {[len(c) for c in columns]}")
    return np.concatenate([*(column[:, None] for column in columns), pixels], axis=1).tobytes()


def _bytes(values: Any) -> NDArray[np.uint8]:
    array = np.asarray(values)
    if array.dtype.kind not in "iu" or (array.size and not 0 <= array.min() <= array.max() <= 255):
        raise ValueError(f"numbers of type {array.dtype} that are no bytes")
    return array.astype(np.uint8)


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def _latin1(text: str, encoding: str) -> bytes:
    """Bytes that Python 3 wrote in an old format."""
    if encoding != "latin1":
        raise ValueError(f"it encodes with {encoding!r}")
    return text.encode("latin1")


class _Plain(pickle.Unpickler):
    """Numbers, texts, lists, dicts and arrays; nothing else is called."""

    def find_class(self, module: str, name: str) -> Any:
        known = {
            ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
            ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): _dtype,
            ("_codecs", "encode"): _latin1,
        }
        if (module, name) not in known:
            raise ValueError(f"it names {module}.{name}, which no file of CIFAR does")
        return known[module, name]


def _dtype(code: Any, *_: Any) -> np.dtype[Any]:
    """Without the 0 and 1 of Python 2 behind it, of which NumPy warns."""
    made: np.dtype[Any] = np.dtype(code)
    return made


def _reconstruct(kind: Any, shape: Any, code: Any) -> Any:
    """An empty array, which the pickle then fills; never of objects."""
    if kind is not np.ndarray:
        raise ValueError("it makes an array of another kind")
    return _Array((0,), dtype=np.uint8)


class _Array(np.ndarray[Any, Any]):
    """An array that takes no objects from a pickle."""

    def __setstate__(self, state: Any) -> None:
        if state[2].hasobject:
            raise ValueError("it holds an array of objects")
        super().__setstate__(state)
