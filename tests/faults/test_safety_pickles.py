"""Files that would run code when they are loaded: checkpoints, weights, predictions, data sets."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from ablate.core.trial import Numerics
from ablate.data.sources.cifar import as_binary
from ablate.engine import checkpoint
from ablate.errors import AblateError
from ablate.execution import teacher
from ablate.index import database
from ablate.models.weights import read_state
from ablate.store import attempt_reader, untrusted
from ablate.store.attempt_writer import Attempt
from ablate.store.merge import carry_out, survey
from ablate.store.predictions import read_predictions
from ablate.util.devices import choose_devices
from tests.helpers.small_stores import make_study, make_trial, new_store, train

if TYPE_CHECKING:
    from tests.helpers.fault_table import Proved

REFUSALS = (*(AblateError, pickle.UnpicklingError, ValueError, RuntimeError, zipfile.BadZipFile),)


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


def as_archive(evil: Evil, path: Path) -> None:
    torch.save({"model": {"weight": torch.zeros(2)}, "epoch": 1, "tricks": evil}, path)


def as_old_file(evil: Evil, path: Path) -> None:
    torch.save({"weight": evil}, path, _use_new_zipfile_serialization=False)


def as_pickle(evil: Evil, path: Path) -> None:
    path.write_bytes(pickle.dumps({b"data": evil, b"labels": [1]}, protocol=2))


def as_module(evil: Evil, path: Path) -> None:
    """A whole model, as `torch.save(model)` writes it, with its code's name inside."""
    model = torch.nn.Linear(2, 2)
    model.evil = evil  # type: ignore[assignment]
    torch.save(model, path)


def as_archive_with_code(evil: Evil, path: Path) -> None:
    """The pickle inside of a sound archive exchanged."""
    torch.save({"weight": torch.zeros(2)}, path)
    with zipfile.ZipFile(path) as whole:
        members = {name: whole.read(name) for name in whole.namelist()}
    with zipfile.ZipFile(path, "w") as written:
        for name, data in members.items():
            changed = pickle.dumps(evil, protocol=2) if name.endswith("data.pkl") else data
            written.writestr(name, changed)


FORMS = (as_archive, as_old_file, as_pickle, as_module, as_archive_with_code)


def test_the_marker_appears_without_the_guard(tmp_path: Path) -> None:
    for form in FORMS:
        marker = tmp_path / form.__name__
        form(Evil(marker), tmp_path / "file")
        if form is as_pickle:
            pickle.loads((tmp_path / "file").read_bytes())
        else:
            torch.load(tmp_path / "file", weights_only=False)
        assert marker.is_dir(), form


def test_no_code_in_weights_and_checkpoints_runs(tmp_path: Path, proved: Proved) -> None:
    store = new_store(tmp_path / "store")
    key = train(store, make_trial(0), 0.9)
    (attempt,) = attempt_reader.attempts(store.path, key)
    (device,) = choose_devices("cpu")
    loads: dict[str, Callable[[Path], object]] = {
        "a checkpoint": checkpoint.read,
        "weights from a file": read_state,
        "a teacher's weights": lambda path: teacher.load(
            store.path, make_trial(0), torch.device(device.name), Numerics()
        ),
        "CIFAR's pickles": lambda path: as_binary(path.read_bytes(), 1),
    }
    times = 0
    for form in FORMS:
        marker = tmp_path / "code-has-run"
        file = tmp_path / f"{form.__name__}.pt"
        form(Evil(marker), file)
        Attempt(attempt, -1, None).save_weights(lambda out, file=file: out.write(file.read_bytes()))  # type: ignore[misc]
        for what, load in loads.items():
            with pytest.raises(REFUSALS):
                load(file)
            assert not marker.exists(), (form, what)
            times += 1
        with pytest.raises(AblateError) as caught:
            read_state(file)
        assert "\n" not in caught.value.message
    proved(
        "safety", "a checkpoint, weights or a data set that would run code when loaded",
        f"{len(FORMS)} forms of pickles, {len(loads)} places that read them", times,
        "nothing runs",
    )  # fmt: skip


def npz(path: Path, **arrays: object) -> None:
    np.savez(path, **arrays)  # type: ignore[arg-type]


def huge(path: Path) -> None:
    """A header that promises a terabyte."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (10**11, 3)}
    )
    with zipfile.ZipFile(path, "w") as written:
        for name in ("ids", "labels", "scores"):
            written.writestr(f"{name}.npy", header.getvalue() + bytes(64))


def deflated(path: Path) -> None:
    """Two gigabytes of zeros in two megabytes."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 26, 1)}
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as written:
        for name in ("ids", "labels", "scores"):
            written.writestr(f"{name}.npy", header.getvalue() + bytes(1 << 28))


def test_predictions_run_no_code_and_fill_no_memory(
    tmp_path: Path, proved: Proved, long: bool
) -> None:
    marker = tmp_path / "code-has-run"
    evil = np.array([Evil(marker)], dtype=object)
    ids = np.arange(20)
    forms: dict[str, Callable[[Path], None]] = {
        "objects": lambda path: npz(path, ids=ids, labels=ids, scores=evil),
        "objects as ids": lambda path: npz(path, ids=evil, labels=ids, scores=np.zeros((20, 3))),
        "a pickle": lambda path: path.write_bytes(pickle.dumps(Evil(marker))) and None,
        "a pickle inside": lambda path: _member(path, "ids.npy", pickle.dumps(Evil(marker))),
        "a terabyte promised": huge,
    }  # fmt: skip
    if long:
        forms["compressed zeros"] = deflated
    times = 0
    for what, make in forms.items():
        store = new_store(tmp_path / "store")
        study = make_study(store, {"baseline": [0.5], "warmup": [0.6]})
        key = study.order[0]
        (attempt,) = attempt_reader.attempts(store.path, key)
        make(attempt / "predictions.npz")
        with pytest.raises(AblateError) as caught:
            read_predictions(store.path, key, attempt.name)
        assert "\n" not in caught.value.message, what
        with database.connect(store.path) as connection:
            asked = "SELECT count(*), count(DISTINCT key) FROM predictions"
            assert connection.execute(asked).fetchall() == [(20, 1)], what
            (aside,) = connection.execute("SELECT path FROM spool.set_aside").fetchall()
        assert key in aside[0]
        # Another store takes it no more than this one.
        other = new_store(tmp_path / "other")
        merge = survey(other, store.path)
        carry_out(other, merge)
        with database.connect(other.path) as connection:
            found = connection.execute("SELECT count(*) FROM predictions").fetchall()
        assert found == [(20,)], what
        assert not marker.exists(), what
        shutil.rmtree(store.path)
        shutil.rmtree(other.path)
        times += 3
    proved(
        "safety", "predictions that hold a pickle, or promise a terabyte",
        f"{len(forms)} files: read, taken into the database, merged", times,
        "nothing runs; the file is set aside and named",
    )  # fmt: skip


def _member(path: Path, name: str, data: bytes) -> None:
    npz(path, ids=np.arange(20), labels=np.arange(20), scores=np.zeros((20, 3), np.float32))
    with zipfile.ZipFile(path) as whole:
        members = {each: whole.read(each) for each in whole.namelist()}
    with zipfile.ZipFile(path, "w") as written:
        for each, content in (members | {name: data}).items():
            written.writestr(each, content)


def test_merging_takes_no_compressed_predictions(tmp_path: Path) -> None:
    path = tmp_path / "predictions.npz"
    np.savez_compressed(path, ids=np.arange(3))
    with pytest.raises(untrusted.Unfit):
        untrusted.check_arrays(path)
