"""How long trials have given no sign of life, told the time by hand."""

from __future__ import annotations

from ablate.execution.watchdog import Silence, ended_by, in_words
from ablate.util.heartbeat import SIZE, Board, Place, Whereabouts, here


def test_silence_counts_from_the_last_sign_of_each() -> None:
    silence = Silence()
    assert silence.look(100.0, {1: 5, 2: 5}) == {1: 0.0, 2: 0.0}
    assert silence.look(101.0, {1: 5, 2: 6}) == {1: 1.0, 2: 0.0}
    assert silence.look(103.0, {1: 5, 2: 6, 3: 0}) == {1: 3.0, 2: 2.0, 3: 0.0}
    assert silence.look(104.0, {1: 6, 3: 0}) == {1: 0.0, 3: 1.0}
    assert silence.look(105.0, {2: 6}) == {2: 0.0}, "another trial of the same number"


def test_time_in_which_the_coordinator_did_not_run_counts_for_nobody() -> None:
    """A lid that was closed for a week, on a system whose monotonic clock goes on meanwhile."""
    silence = Silence()
    silence.look(0.0, {1: 5})
    assert silence.look(7 * 24 * 3600.0, {1: 5})[1] <= 5.0
    assert silence.look(7 * 24 * 3600.0 + 1, {1: 5})[1] <= 6.0


def test_a_place_is_read_as_it_was_written_and_no_other_is_touched() -> None:
    board, mine = Board(3), Whereabouts()
    mine.share(board.descriptor)
    mine.begin(1)
    mine.attempt("20261127T034753.730782Z-acd60a")
    mine.epoch(3)
    mine.step(17)
    before = mine.enter("in on_step_end of trick 'ü'".encode())
    read = board.read(1)
    assert (read.attempt, read.epoch, read.step) == ("20261127T034753.730782Z-acd60a", 3, 17)
    assert str(read) == str(mine.place) == "in epoch 3, step 17, in on_step_end of trick 'ü'"
    assert read.signs == 5
    mine.enter(b"x" * 2 * SIZE)
    assert board.read(0) == board.read(2) == Place()
    mine.leave(before)
    assert str(board.read(1)) == "in epoch 3, step 17"
    board.clear(1)
    assert board.read(1) == Place()
    board.close()
    assert here is not mine


def test_endings_in_words() -> None:
    place = Place(epoch=3, step=17, doing="in forward of trick 'x'")
    assert in_words(place, 30.0) == (
        "no sign of life for 30 min in epoch 3, step 17, in forward of trick 'x': ended; "
        "[protocol] stall_minutes = 30 is the limit"
    )
    assert in_words(Place(), 0.5).startswith("no sign of life for 30 s: ended;")
    assert ended_by(3, Place()) == "its process ended by code 3"
    assert ended_by(-6, place).startswith("its process ended by signal 6 (aborted) in epoch 3, st")
