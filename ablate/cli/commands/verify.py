"""`ablate verify`: one finished trial trained afresh and compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ablate.cli.app import command
from ablate.cli.options import Options
from ablate.console.live_view import LiveView
from ablate.console.log_view import LogView
from ablate.console.output import Output
from ablate.console.progress import Progress
from ablate.console.tracker import Tracker, in_words
from ablate.util.text import count, duration

if TYPE_CHECKING:
    from ablate.console.output import Output
    from ablate.execution.executor import Workers
    from ablate.execution.runner import Outcome
    from ablate.session.retrain import Retraining
    from ablate.session.verify import Comparison
    from ablate.store.store import Store

HELP = """\
Retrain one finished trial afresh, with the same numerics, and compare every number to the bit.

Usage: ablate verify [TRIAL] [options]
Example    ablate verify group1:mixup/imagewoof/1
           ablate verify 7c1e04

TRIAL is the start of a key, or study:row/dataset/seed; without one it is the finished trial that
took least. The store is only read: the new training is compared and thrown away.

           --device NAME        cpu, cuda, cuda:1: of the kind it was trained on [default: auto]
           --store DIR          [env: ABLATE_STORE] [default: ablate-results]
           --data DIR           [env: ABLATE_DATA] [default: ~/.cache/ablate]
Exit: 0 identical, 1 it differs or does not train to the end, 2 refused beforehand.
"""


@command("verify", HELP)
def verify(
    options: Options,
    trial: Annotated[str | None, typer.Argument(metavar="TRIAL")] = None,
    device: Annotated[str, typer.Option("--device")] = "auto",
) -> None:
    """Verify it."""
    from ablate.cli.commands.logs import find_trial
    from ablate.session.retrain import cheapest, prepare
    from ablate.session.verify import compare
    from ablate.store.store import Store

    output = options.output()
    store = Store.open(options.store_path, create=False)
    key = find_trial(store, trial) if trial is not None else cheapest(store)
    ready = prepare(
        store, key, device=device, data_root=options.data, bundled_only=options.no_plugins
    )
    if not output.json:
        output.note(_headline(ready))
        for code in ready.code:
            output.note([(f"runs code of {code}", "dim")])
    with ready.scratch() as scratch, ready.workers() as workers:  # which import meanwhile
        with Progress(output) as progress:

            def told(done: int, total: int, speed: float) -> None:
                amount = f"{done:,}/{total:,}  {speed:,.0f} images/s"
                progress.update("images", "decoding", done, total, amount)

            ready.check(told)
        outcome = _train(ready, scratch, workers, output)
        fresh = scratch.result(key)
        if fresh is None:
            _not_trained(ready, outcome, output)
            raise typer.Exit(outcome.exit_code or 1)
        found = compare(ready.kept, fresh)
    if output.json:
        output.document(_document(ready, found))
    else:
        _tell(ready, found, output)
    if not found.identical:
        raise typer.Exit(1)


def _headline(ready: Retraining) -> str:
    numerics = f"{ready.trial.numerics.profile} numerics on {ready.device.name}"
    parts = [f"{ready.key[:6]} {ready.label}", count(ready.trial.recipe.epochs, "epoch"), numerics]
    parts += [f"about {duration(ready.seconds)}"] if ready.seconds else []
    return " · ".join(parts)


def _train(ready: Retraining, scratch: Store, workers: Workers, output: Output) -> Outcome:
    study = ready.study()
    states = scratch.states(study.order)
    tracker = Tracker.begin(study, states, scratch, frozenset(), ready.seconds)
    live = output.err.live and output.quiet == 0 and not output.json
    quiet = Output(quiet=1) if output.json else output
    with LiveView(output, tracker) if live else LogView(quiet, tracker) as view:
        return ready.train(scratch, study, view, workers)


def _not_trained(ready: Retraining, outcome: Outcome, output: Output) -> None:
    if outcome.signal is not None:
        output.note("Interrupted: nothing was compared, and nothing is kept.")
        return
    told = in_words(outcome.statuses[ready.key], outcome.messages[ready.key])
    if output.json:
        output.document({"key": ready.key, "label": ready.label, "identical": False, "why": told})
    name = f"{ready.key[:6]} {ready.label}"
    output.failure([("✗", "failed"), (f" {name} is done here and now does not train: {told}", "")])


def _tell(ready: Retraining, found: Comparison, output: Output) -> None:
    epochs = count(found.epochs, "epoch")
    if found.identical:
        scores = f"{found.scores:,} scores" if found.scores is not None else "no scores were kept"
        output.result([("identical:", "good"), (f" {epochs}, {scores}", "")])
        if found.recorded:
            output.note([(f"although {_recorded(found)}", "dim")])
        if found.unkept:
            output.note([(f"measured now and not then: {', '.join(found.unkept)}", "dim")])
        return
    first = found.first_epoch
    where = f"from epoch {first} of {found.epochs:,} on" if first else "in what is kept"
    if first is None and found.scores_differ:
        where = "in the scores alone"
    output.result([("differs", "worse"), (f" {where}", "")])
    output.result(*(f"{why}" for why in found.missing))
    if found.metrics:
        rows = [["metric", "epoch", "kept", "now", "apart by at most"]]
        for each in found.metrics:
            values = [_exact(each.stored), _exact(each.now), f"{each.largest:.3g}"]
            rows.append([each.metric, f"{each.epoch:,}", *values])
        head, *lines = output.table(rows, "<>>>>")
        output.result([(head, "dim")], *lines)
    if found.scores_differ:
        output.result(
            f"{found.scores_differ:,} of {found.scores or 0:,} scores differ, by up to "
            f"{found.largest_score:.3g}; {found.predictions_differ:,} of {found.images:,} "
            f"predictions are another class"
        )
    if found.recorded:
        output.result(f"the likely reason: {_recorded(found)}")
    else:
        output.result("nothing that was recorded differs: versions, machine and threads are equal")
    if not ready.promised:
        lines = [
            "fast numerics on a GPU promise no equal bits: TF32, fused kernels and cuDNN's choice",
            'of algorithm differ from run to run; numerics = "exact" promises them',
        ]
        output.note(*lines)


def _exact(value: float | None) -> str:
    return "none" if value is None else repr(value)


def _recorded(found: Comparison) -> str:
    return " · ".join(
        f"{name.replace('_', ' ')} {_plain(then)} → {_plain(now)}"
        for name, (then, now) in found.recorded.items()
    )


def _plain(value: Any) -> str:
    return (
        str(value).lower() if isinstance(value, bool) else "none" if value is None else str(value)
    )


def _document(ready: Retraining, found: Comparison) -> dict[str, Any]:
    return {
        "key": ready.key,
        "label": ready.label,
        "attempt": ready.kept.attempt,
        "identical": found.identical,
        "promised": ready.promised,
        "epochs": found.epochs,
        "first_epoch": found.first_epoch,
        "metrics": [vars(each) for each in found.metrics],
        "scores": found.scores,
        "scores_differ": found.scores_differ,
        "largest_score": found.largest_score,
        "images": found.images,
        "predictions_differ": found.predictions_differ,
        "missing": list(found.missing),
        "unkept": list(found.unkept),
        "recorded": {name: list(pair) for name, pair in found.recorded.items()},
    }
