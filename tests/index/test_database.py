"""The index against the spool: nothing lost, nothing doubled, whoever dies and whatever breaks."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ablate.errors import AblateError
from ablate.index import vetting
from ablate.index.database import connect, in_memory, ingest, reindex, standing
from ablate.store.attempt_reader import attempts
from ablate.store.attempt_writer import Attempt
from ablate.store.journal import read_lines
from ablate.store.store import Store
from tests.helpers.small_stores import make_study, make_trial
from tests.helpers.spool_rows import COUNT, spooled

Train = Callable[..., str]


def rows(store: Store, sql: str) -> list[tuple[object, ...]]:
    with connect(store.path) as connection:
        return connection.execute(sql).fetchall()


def test_the_views_show_what_counts(store: Store, trained: Train) -> None:
    done = trained(0, "warmup", "mixup", top1=0.9)
    trained(0, "warmup", "mixup", top1=0.8)  # a second one does not count
    diverged = trained(1, top1=0.1, status="diverged")
    retried = trained(2, top1=0.2, status="failed")
    with Attempt.begin(store.path, retried, continues="earlier") as attempt:
        attempt.record("epoch", epoch=1, metrics={"top1": 0.3}, seconds=2.0, steps=1)
        attempt.record("epoch", epoch=1, metrics={"top1": 0.4}, seconds=3.0, steps=1)
    new = make_trial(3)
    store.register(new, "digits · seed 3")

    assert ingest(store.path) == 3 * 4 + 4 + 3
    assert ingest(store.path) == 0
    columns = "key, status, dataset, seed, tricks, label, epochs, top1, seconds"
    expected = [
        (done, "done", "digits", 0, ["mixup", "warmup"], "digits · seed 0", 3, 0.9, 4.5),
        (diverged, "diverged", "digits", 1, [], "digits · seed 1", 3, None, 4.5),
        (retried, "unfinished", "digits", 2, [], "digits · seed 2", 1, None, 3.0),
        (new.key, "new", "digits", 3, [], "digits · seed 3", 0, None, None),
    ]
    assert rows(store, f"SELECT {columns} FROM trials ORDER BY seed") == expected
    ((started, finished),) = rows(store, "SELECT started, finished FROM trials WHERE seed = 0")
    result = store.result(done)
    assert result is not None
    assert f"{started.isoformat(timespec='milliseconds')}Z" == result.started  # type: ignore[attr-defined]
    assert f"{finished.isoformat(timespec='milliseconds')}Z" == result.finished  # type: ignore[attr-defined]
    curve = f"SELECT epoch, value FROM epochs WHERE metric = 'top1' AND key = '{done}' ORDER BY 1"
    np.testing.assert_allclose(rows(store, curve), [(1, 0.7), (2, 0.8), (3, 0.9)])
    assert rows(store, f"SELECT metric, value FROM epochs WHERE key = '{retried}' ORDER BY 1") == [
        ("seconds", 3.0),
        ("top1", 0.4),
    ]


def test_processor_times_are_shown_where_they_were_recorded(store: Store, trained: Train) -> None:
    older, trial = trained(0), make_trial(1)
    store.register(trial, "digits · seed 1")
    with Attempt.begin(store.path, trial.key) as attempt:
        for epoch, used in enumerate((0.5, 1.9, 1.0, 1.2), 1):
            times = {"seconds": 2.0, "processor_seconds": used}
            attempt.record("epoch", epoch=epoch, metrics={"top1": 0.5}, **times)
        attempt.finish("done")
    result = store.result(trial.key)
    assert result is not None
    share = "SELECT processor_share FROM trials ORDER BY seed"
    assert rows(store, share) == [(None,), (result.curves.processor_share,)]
    assert result.curves.processor_share == 0.6
    told = "SELECT key, epoch, value FROM epochs WHERE metric = 'processor_seconds' ORDER BY epoch"
    used = [(trial.key, epoch, value) for epoch, value in enumerate((0.5, 1.9, 1.0, 1.2), 1)]
    assert rows(store, told) == used
    assert rows(store, f"SELECT count(*) FROM epochs WHERE key = '{older}' AND metric = 'seconds'")


def test_an_average_is_over_results(store: Store, trained: Train) -> None:
    """Neither a trial at chance that diverged nor the last epoch of one that failed is in it."""
    values = [0.9, 0.8]
    for seed, top1 in enumerate(values):
        trained(seed, top1=top1)
    trained(2, top1=0.1, status="diverged")
    trained(3, top1=0.2, status="failed")
    trained(4, top1=0.3, status="oom")
    ((mean, n, trials),) = rows(store, "SELECT avg(top1), count(top1), count(*) FROM trials")
    assert mean == pytest.approx(np.mean(values))
    assert (n, trials) == (2, 5)
    lost = "SELECT count(*) FROM trials WHERE status <> 'done' AND {} IS NOT NULL"
    for column in ("top1", "top5", "loss", "metrics"):
        assert rows(store, lost.format(column)) == [(0,)]
    last = "SELECT status, value FROM epochs WHERE metric = 'top1' AND epoch = 3 ORDER BY value"
    found = [(status, round(value, 6)) for status, value in rows(store, last)]  # type: ignore[call-overload]
    assert found == [
        ("diverged", 0.1), ("failed", 0.2), ("oom", 0.3), ("done", 0.8), ("done", 0.9)
    ]  # fmt: skip


def test_an_index_of_before_is_made_anew(store: Store, trained: Train) -> None:
    """One of version 3, whose views had the last epoch of any trial for a result."""
    import duckdb

    trained(0, top1=0.9)
    trained(1, top1=0.1, status="diverged")
    ingest(store.path)
    with duckdb.connect(str(store.path / "results.duckdb")) as old:
        old.execute("UPDATE spool.version SET number = 3")
        old.execute("CREATE VIEW trials AS SELECT 0.5 AS top1")
    assert rows(store, "SELECT avg(top1), count(*) FROM trials") == [(pytest.approx(0.9), 2)]
    assert rows(store, "SELECT DISTINCT status FROM epochs ORDER BY 1") == [
        ("diverged",), ("done",)
    ]  # fmt: skip


def test_predictions_come_back_as_written(store: Store) -> None:
    scores = np.random.default_rng(0).normal(size=(50, 10)).astype(np.float32)
    wide = np.random.default_rng(1).normal(size=(5, 200)).astype(np.float32)
    for trial, values in ((make_trial(0), scores), (make_trial(1), wide)):
        store.register(trial, "x")
        with Attempt.begin(store.path, trial.key) as attempt:
            labels = np.arange(len(values)) % 10
            attempt.save_predictions(np.arange(len(values)), labels, values)
            assert rows(store, f"SELECT * FROM predictions WHERE key = '{trial.key}'") == []
            attempt.finish("done")
    sql = "SELECT label, scores, classes FROM predictions WHERE key = '{}' ORDER BY id"
    stored = rows(store, sql.format(make_trial(0).key))
    np.testing.assert_array_equal(np.array([s for _, s, _ in stored], np.float32), scores)
    assert [label for label, _, _ in stored] == (np.arange(50) % 10).tolist()
    stored = rows(store, sql.format(make_trial(1).key))
    best = [row[np.array(classes)] for row, (_, _, classes) in zip(wide, stored, strict=True)]
    np.testing.assert_array_equal(np.array([s for _, s, _ in stored], np.float32), best)
    assert [classes[0] for _, _, classes in stored] == wide.argmax(axis=1).tolist()  # type: ignore[index]


def test_the_file_is_in_the_storage_format_of_duckdb_1(store: Store, trained: Train) -> None:
    trained()
    ingest(store.path)
    trained(1)
    ingest(store.path)  # a later write does not raise it
    header = (store.path / "results.duckdb").read_bytes()[:20]
    assert header[8:12] == b"DUCK"
    assert int.from_bytes(header[12:20], "little") == 64  # DuckDB 1.0's; 2.0 writes 68 by itself


WRITER = """
    import sys
    from pathlib import Path
    from ablate.store.attempt_writer import Attempt
    attempt = Attempt.begin(Path(sys.argv[1]), sys.argv[2])
    print(attempt.name, flush=True)
    for epoch in range(1, 1_000_000):
        attempt.record("epoch", epoch=epoch, metrics={"top1": epoch / 7}, seconds=0.1, steps=1)
        print(epoch, flush=True)
"""

INGESTER = """
    import sys, time
    from pathlib import Path
    from ablate.index.database import ingest
    print("ready", flush=True)
    while True:
        ingest(Path(sys.argv[1]))
        time.sleep(float(sys.argv[2]))
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    return child


HOSTILE = [
    b"\x00\xff\xfe",
    b"[" * 100_000,
    b'{"kind":"epoch","epoch":"one","seconds":[],"steps":1e999,"metrics":{"a":"b","c":1e308}}',
    b'{"kind":"epoch","epoch":99999999999999999999,"seq":{},"metrics":[1]}',
    b'{"kind":"epoch","epoch":3,"seconds":NaN,"metrics":{"\\ud800":1,"x":-Infinity}}',
    b'{"kind":"start","host":7,"continues":"\\ud800"}',
    b"null",
]


def test_what_is_no_line_of_ours_is_set_aside_and_never_stops_the_rest(
    store: Store, trained: Train
) -> None:
    key = trained()
    (attempt,) = attempts(store.path, key)
    with (attempt / "metrics.jsonl").open("ab") as file:
        file.write(b"\n".join(HOSTILE) + b"\n")
    (attempt / "predictions.npz").write_bytes(b"PK\x03\x04 no archive")
    (store.path / "trials" / "x.y").mkdir()
    (store.path / "trials" / "file").write_text("")
    (store.path / "trials" / "odd").mkdir()
    (store.path / "trials" / "odd" / "trial.json").write_text(
        '{"trial": {"seed": "x", "tricks": [1, {"label": 2}], "recipe": 3}, "label": "\\ud800"}'
    )
    ingest(store.path)
    assert rows(store, "SELECT count(*) FROM spool.set_aside") == [(6,)]
    top1 = "SELECT value FROM epochs WHERE metric = 'top1' ORDER BY epoch"
    np.testing.assert_allclose(rows(store, top1), [(0.7,), (0.8,), (0.9,)])
    assert rows(store, "SELECT status FROM trials ORDER BY 1") == [("done",)]
    assert not list(store.path.glob("*corrupt*"))


def test_a_lost_definition_makes_an_index_no_strangers(store: Store) -> None:
    """What a saved run defines is in it without a length of its file, which is not there."""
    study = make_study(store, {"baseline": [0.8, 0.9]})
    (store.path / "trials" / study.order[0] / "trial.json").unlink()
    told: list[str] = []
    for _ in range(3):
        ingest(store.path, told.append)
        with connect(store.path, told.append) as connection:
            assert connection.execute("SELECT count(*) FROM trials").fetchall() == [(2,)]
    assert standing(store.path).state == "current"
    assert (told, list(store.path.glob("*corrupt*"))) == ([], [])


def test_a_link_in_the_place_of_lines_is_none(store: Store, trained: Train) -> None:
    key = trained(0)
    trained(1)
    (attempt,) = attempts(store.path, key)
    (attempt / "metrics.jsonl").rename(store.path.with_name("own"))
    (attempt / "metrics.jsonl").symlink_to(store.path.with_name("own"))
    reindex(store.path)
    assert rows(store, "SELECT count(DISTINCT key) FROM epochs") == [(1,)]


def test_an_index_that_is_moved_away_while_it_is_written_is_no_bug(
    store: Store, trained: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained()
    made = vetting.made

    def moved(path: Path) -> None:
        store.path.rename(store.path.with_name("moved"))
        made(path)

    monkeypatch.setattr(vetting, "made", moved)
    with pytest.raises(AblateError, match="moved or removed it meanwhile"):
        reindex(store.path)
    store.path.with_name("moved").rename(store.path)
    assert ingest(store.path) == 0
    assert not store.path.exists()


def test_what_was_removed_from_the_spool_leaves_the_index(store: Store, trained: Train) -> None:
    gone, stays = trained(0), trained(1)
    ingest(store.path)
    shutil.rmtree(store.path / "trials" / gone)
    assert rows(store, "SELECT key FROM trials") == [(stays,)]
    assert rows(store, COUNT) == spooled(store.path)


def test_ingesters_at_once_take_every_line_in_once(store: Store) -> None:
    """Three processes and two threads of this one, while four attempts grow."""
    written = [Attempt.begin(store.path, make_trial(seed).key) for seed in range(4)]
    others = [start(INGESTER, store.path, 0) for _ in range(3)]
    for other in others:
        other.stdout.readline()  # type: ignore[union-attr]
    going = threading.Event()

    def take_in() -> None:
        while not going.is_set():
            ingest(store.path)

    threads = [threading.Thread(target=take_in) for _ in range(2)]
    for thread in threads:
        thread.start()
    for epoch in range(1, 201):
        for attempt in written:
            attempt.record("epoch", epoch=epoch, metrics={"top1": 0.5}, seconds=1.0, steps=1)
        time.sleep(0.005)
    going.set()
    for thread in threads:
        thread.join()
    for other in others:
        other.kill()
        other.communicate()
    for attempt in written:
        attempt.close()
    twice = "SELECT count(*), count(DISTINCT (run, seq)) FROM spool.epoch"
    assert rows(store, twice) == [(800, 800)]
    assert not list(store.path.glob("*corrupt*"))


def test_a_reader_polls_while_others_write_and_never_sees_less(store: Store) -> None:
    writer, ingester = start(WRITER, store.path, make_trial().key), start(INGESTER, store.path, 0.1)
    ingester.stdout.readline()  # type: ignore[union-attr]
    assert writer.stdout is not None
    drain = threading.Thread(target=writer.stdout.read)  # a full pipe would stop it
    drain.start()
    seen, waits = [0], []
    while len(seen) < 10:
        began = time.perf_counter()
        with connect(store.path) as reader:
            waits.append(time.perf_counter() - began)
            ((count, distinct),) = reader.execute(
                "SELECT count(*), count(DISTINCT seq) FROM spool.epoch"
            ).fetchall()
        assert count == distinct
        seen.append(count)
    writer.kill()
    drain.join()
    for child in (writer, ingester):
        child.kill()
        child.communicate()
    assert seen == sorted(seen)
    assert seen[-1] > seen[1]
    # None hangs; docs/reliability.md says how long they take. Beside eight other programs: 85 s.
    assert max(waits) < 240


def test_a_reader_that_stays_makes_ingesters_skip_not_fail(store: Store, trained: Train) -> None:
    trained(0)
    ingest(store.path)
    held = start(
        """
        import sys, time
        from pathlib import Path
        from ablate.index.database import connect
        reader = connect(Path(sys.argv[1]))
        print("ready", flush=True)
        time.sleep(600)
        """,
        store.path,
    )
    held.stdout.readline()  # type: ignore[union-attr]
    trained(1)
    assert ingest(store.path) == 0
    held.kill()
    held.communicate()
    assert ingest(store.path) == 4
    with connect(store.path):  # the same within one process
        trained(2)
        assert ingest(store.path) == 0
    assert ingest(store.path) == 4


def test_copying_a_store_over_another_merges_them(store: Store, trained: Train) -> None:
    shared = trained(0)
    trained(1)
    other = store.path.with_name("other")
    shutil.copytree(store.path, other)
    ingest(store.path)
    trained(2)
    ingest(store.path)
    elsewhere = Store.open(other, create=True)
    for seed, top1 in ((0, 0.7), (3, 0.6)):
        trial = make_trial(seed)
        elsewhere.register(trial, "elsewhere")
        with Attempt.begin(other, trial.key) as attempt:
            attempt.record("epoch", epoch=1, metrics={"top1": top1}, seconds=1.0, steps=1)
            attempt.finish("done")
    ingest(other)
    subprocess.run(["cp", "-r", f"{other}/.", str(store.path)], check=True)
    assert rows(store, "SELECT seed, top1 FROM trials ORDER BY seed") == [
        (0, 0.9),
        (1, 0.9),
        (2, 0.9),
        (3, 0.6),
    ]
    assert rows(store, COUNT) == spooled(store.path)
    assert [d.key for d in store.disagreements()] == [shared, shared]  # loss and top1


def test_memory_and_file_agree_and_an_empty_store_can_be_asked(
    store: Store, trained: Train
) -> None:
    assert rows(store, "SELECT * FROM trials") == []
    for seed in range(3):
        trained(seed)
    everything = "SELECT * FROM trials ORDER BY key"
    with in_memory(store.path) as memory:
        assert memory.execute(everything).fetchall() == rows(store, everything)
    counts = reindex(store.path)
    assert (counts["lines"], counts["trial"], counts["ending"], counts["metric"]) == (12, 3, 3, 18)
    assert read_lines(next(store.path.glob("trials/*/*/metrics.jsonl"))).invalid == []
