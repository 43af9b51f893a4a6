"""`ablate gc` in a loop, while two processes save runs and train what they lack of them: a program
of its own, `python -m tests.helpers.gc_raced FOLDER ROUNDS`. Prints counts as JSON."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from ablate.core.resolved_study import ResolvedStudy
from ablate.core.trial import Trial
from ablate.index import database
from ablate.store.attempt_writer import Attempt
from ablate.store.collect import carry_out, survey
from ablate.store.lease import claim
from ablate.store.store import Store
from tests.helpers.small_stores import make_study, make_trial, new_store, train


def trial_of(writer: int, number: int) -> Trial:
    return make_trial(number, "warmup", epochs=1, batch_size=32 + writer)


def work(store: Store, study: ResolvedStudy, writer: int, rounds: int) -> dict[str, int]:
    """What `ablate run` does, in its order: save, look, register, claim, look again, train."""
    counts = {"kept": 0, "trained": 0}
    for number in range(rounds):
        trial = trial_of(writer, number)
        key = trial.key
        trials = {**study.trials, **{trial_of(writer, n).key: trial_of(writer, n)
                                     for n in range(number + 1)}}  # fmt: skip
        labels = dict.fromkeys(trials, "a trial")
        update = {"name": f"writer{writer}", "trials": trials, "labels": labels}
        store.save_study(study.model_copy(update={**update, "order": tuple(trials)}))
        done = store.state(key).status == "done"
        store.register(trial, "a trial")
        counts["kept"] += done
        while not done:
            held = claim(store.path, key, "raced")
            if held is None:
                time.sleep(0.001)
                done = store.state(key).status == "done"
                continue
            with held:
                if store.state(key).status != "done":
                    with Attempt.begin(store.path, key) as attempt:
                        attempt.record("epoch", epoch=1, metrics={"top1": 0.5}, seconds=1.0)
                        attempt.finish("done")
                    counts["trained"] += 1
            done = True
    return counts


def main(folder: Path, rounds: int) -> dict[str, int]:
    store = new_store(folder / "raced")
    study = make_study(store, {"baseline": [0.5]})
    for writer in (0, 1):  # of no study as yet: gc may take them away until a run names them
        for number in range(rounds):
            if number % 3:
                train(store, trial_of(writer, number), 0.5)
    children = {}
    for writer in (0, 1):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            found = work(Store.open(store.path, create=True), study, writer, rounds)
            os.write(writing, json.dumps(found).encode())
            os._exit(0)
        os.close(writing)
        children[pid] = reading
    counts = {"collections": 0, "removed": 0, "kept": 0, "trained": 0}
    running = dict(children)
    while running:
        done = carry_out(survey(Store.open(store.path, create=False)))
        database.ingest(store.path)  # as the command does
        counts["collections"] += 1
        counts["removed"] += sum(piece.kind == "trials" for piece in done.pieces)
        time.sleep(0.002)  # who waits for a file's lock is not first in a line
        for pid in list(running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                assert status == 0, f"a writer ended with {status}"
                for name, number in json.loads(os.read(running.pop(pid), 1000)).items():
                    counts[name] += number
    wanted = [trial_of(writer, number) for writer in (0, 1) for number in range(rounds)]
    for trial in wanted:
        assert store.state(trial.key).status == "done", "gc took a trial that a run had named"
        assert store.trial(trial.key) == trial, "its definition is gone"
    return counts | {"trials": len(wanted)}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]))))
