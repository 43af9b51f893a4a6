"""Files of tensors, as `torch.save` writes them, before torch reads them. No torch here.

torch runs no code from them with `weights_only`, but takes sizes as they are said: a thousandth of
a gigabyte can unpack to one, and a pickle may ask for a `bytearray` of any size.
"""

from __future__ import annotations

import io
import os
import pickletools
import zipfile
from typing import Any, BinaryIO, Final

_PICKLE: Final = 256 << 20  # bytes of names, shapes and plain values; weights are beside them
_PUTS: Final = frozenset({"BINPUT", "LONG_BINPUT", "PUT"})
_GETS: Final = frozenset({"BINGET", "LONG_BINGET", "GET"})
_TEXT: Final = frozenset({"BINUNICODE", "SHORT_BINUNICODE", "UNICODE"})
# What may follow the name of `bytearray`: a text or bytes; it could be called with its size.
_OF_TEXT: Final = (_TEXT, _TEXT | _GETS, {"TUPLE2"}, {"REDUCE"})
_OF_BYTES: Final = ({"GLOBAL"} | _GETS, *_OF_TEXT, {"TUPLE1"}, {"REDUCE"})
_FORMS: Final = (_OF_TEXT, _OF_BYTES, ({"EMPTY_TUPLE"}, {"REDUCE"}))


class TooLarge(ValueError):
    """A file that claims more than it holds."""


def check_file(file: BinaryIO) -> None:
    """Raise TooLarge for a file that claims more than it holds; it is at its beginning afterwards.

    Raises OSError for what cannot be read, ValueError and zipfile.BadZipFile for damage.
    """
    try:
        if not zipfile.is_zipfile(file):
            file.seek(0)
            _check_old(file)
            return
        size = file.seek(0, os.SEEK_END)
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if any(member.compress_type != zipfile.ZIP_STORED for member in members):
                raise TooLarge("it is compressed, which torch.save never does")
            if sum(member.file_size for member in members) > size:
                raise TooLarge("its tensors are larger than the file")
            for member in members:
                if member.filename.rpartition("/")[2] == "data.pkl":
                    if member.file_size > _PICKLE:
                        raise TooLarge(f"it has {member.file_size:,} bytes beside its tensors")
                    _check_pickle(io.BytesIO(archive.read(member)))
    finally:
        file.seek(0)


def check_tensors(loaded: Any, file: BinaryIO) -> None:
    """Raise TooLarge where what was loaded has more memory than the file has bytes: a tensor's
    shape makes torch enlarge what its numbers lie in."""
    storages: dict[int, int] = {}
    seen: set[int] = set()
    waiting = [loaded]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, (list, tuple, set)):
            waiting += value
        elif hasattr(value, "untyped_storage"):
            if str(value.layout) != "torch.strided" or value.is_meta:
                continue  # without a memory of its own
            storage = value.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    if sum(storages.values()) > os.fstat(file.fileno()).st_size:
        raise TooLarge("its tensors are larger than the file")


def _check_old(file: BinaryIO) -> None:
    """A file of before 2020: pickles one after the other, then the tensors' numbers."""
    for _ in range(5):  # magic number, version, system, contents, names of what follows
        try:
            _check_pickle(file)
        except TooLarge:
            raise
        except ValueError:  # no pickle: torch says so
            return


def _check_pickle(file: BinaryIO) -> None:
    """Raise TooLarge for a `bytearray` that is made of a number, which is its size."""
    places: set[Any] = set()  # in the memo, where `bytearray` is
    forms: list[tuple[Any, ...]] = []  # what may follow its name
    for step, argument, _ in pickletools.genops(file):
        if forms and step.name in _PUTS:
            if len(forms) == len(_FORMS):  # its name's own place
                places.add(argument)
            continue
        if forms:
            forms = [form[1:] for form in forms if step.name in form[0]]
            if not forms:
                raise TooLarge("it asks for a bytearray of any size")
            if () in forms:
                forms = []
            continue
        named = step.name == "GLOBAL" and str(argument).endswith(" bytearray")
        if named or (step.name in _GETS and argument in places):
            forms = [*_FORMS]
