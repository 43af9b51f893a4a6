"""What a trial writes: lines, checkpoints, predictions, endings."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from ablate.errors import AblateError
from ablate.store.attempt_reader import attempts, checkpoints, conclude, ending, resumable, retire
from ablate.store.attempt_writer import Attempt
from ablate.store.journal import read_lines

pytestmark = pytest.mark.usefixtures("trials_folder")

KEY = "ab" * 32


def lines(attempt: Attempt) -> list[dict[str, object]]:
    text = (attempt.path / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_lines_are_json_with_a_sequence_and_no_bare_nan(tmp_path: Path) -> None:
    with Attempt.begin(tmp_path, KEY) as attempt:
        metrics = {"loss": math.nan, "top1": np.float32(0.5), "top5": np.float64(math.inf)}
        attempt.record("epoch", epoch=1, metrics=metrics, seconds=0.5, steps=7)
        attempt.record("note", values=np.arange(3), text="a\u2028b\nc")
    start, epoch, note = lines(attempt)
    assert [start["seq"], epoch["seq"], note["seq"]] == [0, 1, 2]
    assert start["kind"] == "start"
    assert epoch["metrics"] == {"loss": None, "top1": 0.5, "top5": None}
    assert epoch["nonfinite"] == ["metrics.loss", "metrics.top5"]
    assert note["values"] == [0, 1, 2]
    assert note["text"] == "a\u2028b\nc"


def test_a_torn_line_is_left_and_a_bad_one_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"seq":0}\n\x00\xffgarbage\r\n[1]\n{"seq":1}\n{"seq":2')
    read = read_lines(path)
    assert [r["seq"] for r in read.records] == [0, 1]
    assert [raw for _, raw in read.invalid] == [b"\x00\xffgarbage\r", b"[1]"]
    assert [offset for offset, _ in read.invalid] == [10, 21]
    with path.open("ab") as file:
        file.write(b"}\n")
    assert [r["seq"] for r in read_lines(path, read.offset).records] == [2]


@pytest.mark.parametrize("key", ["../x", "a/b", "", ".", "a.b", "x\n"])
def test_keys_cannot_leave_the_store(tmp_path: Path, key: str) -> None:
    with pytest.raises(AblateError):
        Attempt.begin(tmp_path, key)


def test_checkpoints_keep_two_and_agree_with_sha256sum(tmp_path: Path) -> None:
    attempt = Attempt.begin(tmp_path, KEY)
    for epoch in range(1, 13):  # past 9, where names would sort differently
        attempt.save_checkpoint(epoch, lambda f, e=epoch: f.write(f"weights {e}".encode() * 999))
    assert [e for _, e, _ in checkpoints(tmp_path, KEY)] == [12, 11]
    if shutil.which("sha256sum"):
        check = ["sha256sum", "--check", "--status", "checkpoint-12.pt.sha256"]
        assert subprocess.run(check, cwd=attempt.path).returncode == 0
    attempt.close()


def test_a_failed_checkpoint_leaves_the_last_two(tmp_path: Path) -> None:
    attempt = Attempt.begin(tmp_path, KEY)
    attempt.save_checkpoint(1, lambda f: f.write(b"one"))
    attempt.save_checkpoint(2, lambda f: f.write(b"two"))

    def fails(file: object) -> None:
        raise RuntimeError("not picklable")

    with pytest.raises(RuntimeError):
        attempt.save_checkpoint(3, fails)
    assert [e for _, e, _ in checkpoints(tmp_path, KEY)] == [2, 1]
    assert not [p for p in attempt.path.iterdir() if p.name.endswith(".tmp")]
    attempt.close()


def test_checkpoints_of_earlier_attempts_count_until_one_is_done(tmp_path: Path) -> None:
    for epoch in (5, 3):
        with Attempt.begin(tmp_path, KEY) as attempt:
            attempt.save_checkpoint(epoch, lambda f: f.write(b"x"))
            if epoch == 5:
                attempt.finish("interrupted")
    assert [e for _, e, _ in checkpoints(tmp_path, KEY)] == [5, 3]
    with Attempt.begin(tmp_path, KEY, continues=attempt.name) as last:
        last.save_checkpoint(6, lambda f: f.write(b"x"))
        assert [e for _, e, _ in checkpoints(tmp_path, KEY)] == [6, 5, 3]
        last.finish("done")
    assert list((tmp_path / "trials" / KEY).rglob("checkpoint*")) == []
    assert ending(last.path)["continues"] == attempt.name  # type: ignore[index]


def test_nothing_goes_on_from_what_is_final(tmp_path: Path) -> None:
    for status, count in (("failed", 1), ("oom", 2), ("diverged", 0)):
        with Attempt.begin(tmp_path, KEY) as attempt:
            attempt.save_checkpoint(1, lambda f: f.write(b"x"))
            attempt.finish(status)
        assert len(resumable(tmp_path, KEY)) == count


def test_predictions_load_in_numpy(tmp_path: Path) -> None:
    scores = np.random.default_rng(0).normal(size=(7, 10))
    with Attempt.begin(tmp_path, KEY) as attempt:
        attempt.save_predictions(np.arange(7), np.zeros(7, int), scores)
        with np.load(attempt.path / "predictions.npz", allow_pickle=False) as stored:
            assert stored["scores"].dtype == np.float32
            np.testing.assert_array_equal(stored["scores"], scores.astype(np.float32))
        wide = np.random.default_rng(1).permuted(np.tile(np.arange(101.0), (4, 1)), axis=1)
        attempt.save_predictions([0, 1, 2, 3], [0, 0, 0, 0], wide)
        with np.load(attempt.path / "predictions.npz", allow_pickle=False) as stored:
            np.testing.assert_array_equal(stored["scores"], np.tile([100, 99, 98, 97, 96], (4, 1)))
            picked = np.take_along_axis(wide, stored["indices"].astype(int), axis=1)
            np.testing.assert_array_equal(picked, stored["scores"])
        with pytest.raises(ValueError, match="one entry per image"):
            attempt.save_predictions([0], [0, 0, 0, 0], wide)


def test_an_ending_is_written_once_and_holds_the_last_epoch(tmp_path: Path) -> None:
    with Attempt.begin(tmp_path, KEY) as attempt:
        attempt.record("epoch", epoch=1, metrics={"top1": 0.25}, seconds=1.0, steps=2)
        attempt.record("epoch", epoch=2, metrics={"top1": 0.5}, seconds=1.0, steps=2)
        with pytest.raises(ValueError, match="not one of"):
            attempt.finish("perfect")
        attempt.finish("done", "ok", images_per_second=12.5)
        with pytest.raises(ValueError, match="already"):
            attempt.finish("done")
        with pytest.raises(ValueError, match="closed"):
            attempt.record("epoch", epoch=3, metrics={})
    end = ending(attempt.path)
    assert end is not None
    assert (end["status"], end["epochs"], end["final"]) == ("done", 2, {"top1": 0.5})
    assert end["summary"] == {"images_per_second": 12.5}
    (attempt.path / "done.json").write_text('{"status": "do')
    assert ending(attempt.path) is None


def test_the_ending_of_a_process_that_could_not_write_it(tmp_path: Path) -> None:
    conclude(tmp_path, KEY, "failed", "nothing to end")
    with Attempt.begin(tmp_path, KEY, continues="earlier") as attempt:
        attempt.record("epoch", epoch=1, metrics={"top1": math.nan}, seconds=1.0, steps=2)
    conclude(tmp_path, KEY, "oom", "killed by signal 9")
    end = ending(attempt.path)
    assert end is not None
    assert (end["status"], end["message"], end["epochs"]) == ("oom", "killed by signal 9", 1)
    assert (end["continues"], end["final"], end["nonfinite"]) == (
        "earlier",
        {"top1": None},
        ["metrics.top1"],
    )
    conclude(tmp_path, KEY, "failed", "an ending is written once")
    assert ending(attempt.path) == end


def test_retired_attempts_are_kept_and_do_not_count(tmp_path: Path) -> None:
    with Attempt.begin(tmp_path, KEY) as attempt:
        attempt.save_checkpoint(1, lambda f: f.write(b"x"))
    retire(tmp_path, KEY)
    assert attempts(tmp_path, KEY) == []
    assert resumable(tmp_path, KEY) == []
    assert (attempt.path.with_name(f"retired-{attempt.name}") / "checkpoint-1.pt").exists()
