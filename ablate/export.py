"""What a paper's artifact needs of a store: studies, tables, every seed and epoch, provenance.

Nothing in it names a place or a person unless asked for (`util.redact`), and the same results
give the same archive, byte for byte.
"""

from __future__ import annotations

import csv
import io
import json
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ablate._version import __version__
from ablate.core.resolved_study import ResolvedStudy
from ablate.errors import AblateError
from ablate.store import attempt_reader
from ablate.store.predictions import DAMAGED, stored_arrays
from ablate.store.store import Store, TrialResult, TrialState
from ablate.util import beneath
from ablate.util.archives import Content
from ablate.util.redact import Scrubber

if TYPE_CHECKING:
    from ablate.report.model import ReportTable

_ENDINGS: Final = {
    "markdown": "md",
    "latex": "tex",
    "html": "html",
    "csv": "csv",
    "json": "json",
    "parquet": "parquet",
}
_VERSIONS: Final = ("ablate", "torch", "torchvision", "python", "cuda", "platform")
_MACHINE: Final = ("host", "device_name", "device", "cores")


@dataclass(frozen=True)
class Export:
    """An archive's contents. folder: what they lie in; notes: what a person should know."""

    folder: str
    contents: dict[str, Content]
    store: Store  # held open: the files among the contents are read through no link
    notes: tuple[str, ...]
    studies: int
    trials: int


class _Clean(Store):
    """A store as it may be shown: messages and machines without names of places."""

    def __init__(self, store: Store, scrub: Scrubber) -> None:
        super().__init__(store.path)
        self._scrub = scrub

    def state(self, key: str) -> TrialState:
        state = super().state(key)
        return replace(state, message=self._scrub.message(state.message), holder=None)

    def results(self, states: Mapping[str, TrialState]) -> dict[str, TrialResult]:
        return {
            key: replace(result, environment=self._scrub.of(result.environment))
            for key, result in super().results(states).items()
        }


def collect(
    store: Store,
    studies: Sequence[ResolvedStudy],
    *,
    anonymous: bool = False,
    predictions: bool = False,
    weights: bool = False,
) -> Export:
    """Everything of these studies that is done. Raises AblateError if nothing is."""
    keys = list(dict.fromkeys(key for study in studies for key in study.order))
    scrub = Scrubber(anonymous=anonymous, hosts=_hosts(store, keys))
    clean = _Clean(store, scrub)
    states = clean.states(keys)
    results = clean.results(states)
    if not results:
        names = ", ".join(study.name for study in studies)
        raise AblateError(f"none of {names}'s trials is done", hint=studies[0].command or None)
    contents: dict[str, Content] = {}
    notes: list[str] = []
    shown = [_shown(study, scrub) for study in studies]
    for study, original in zip(shown, studies, strict=True):
        contents |= _study(study, original, scrub)
        contents |= _tables(study, clean, notes)
        contents[f"studies/{study.name}/looks.json"] = _json({"looks": _looks(original, store)})
    contents |= _results(shown, states, results)
    contents |= _kept(store, states, results, predictions=predictions, weights=weights, notes=notes)
    contents["provenance.json"] = _json(_provenance(shown, results))
    contents["README.md"] = _readme(shown, states, sorted(contents)).encode()
    folder = _slug(studies[0].name) if len(studies) == 1 else "ablate-export"
    return Export(folder, contents, store, tuple(dict.fromkeys(notes)), len(shown), len(results))


def _hosts(store: Store, keys: Iterable[str]) -> list[str]:
    """Host names in the order in which they trained."""
    found = [result for key in keys if (result := store.result(key)) is not None]
    found.sort(key=lambda result: (result.started, result.key))
    return [str(result.environment.get("host") or "") for result in found]


def _shown(study: ResolvedStudy, scrub: Scrubber) -> ResolvedStudy:
    """A resolved study without names of places; no key depends on one."""
    return ResolvedStudy.model_validate_json(json.dumps(scrub.of(study.model_dump(mode="json"))))


# ------------------------------------------------------------------------------------ studies


def _study(study: ResolvedStudy, original: ResolvedStudy, scrub: Scrubber) -> dict[str, Content]:
    """The TOML, laid out as it was so that `extends` holds, and what it resolved to."""
    folder = f"studies/{study.name}"
    found: dict[str, Content] = {f"{folder}/resolved.json": _json(study.model_dump(mode="json"))}
    for place, text in zip(_places(original).values(), original.toml.values(), strict=True):
        found[f"{folder}/{place}"] = scrub.text(text).encode()
    return found


def _places(study: ResolvedStudy) -> dict[str, str]:
    """Where each of a study's files lies in the archive, below the study's folder."""
    return dict(zip(study.toml, _relative(list(study.toml)), strict=True))


def _relative(paths: Sequence[str]) -> list[str]:
    """The paths below the folder that they share."""
    plain = [posixpath.normpath(path.replace("\\", "/")) for path in paths]
    folders = [posixpath.dirname(path) for path in plain]
    try:
        common = posixpath.commonpath(folders) if folders else ""
    except ValueError:  # absolute and relative ones
        common = None
    names = [
        posixpath.basename(path) if common is None else posixpath.relpath(path, common or ".")
        for path in plain
    ]
    # What still leads out of the archive, or collides, goes by its own name.
    safe = [
        posixpath.basename(n) if ".." in n.split("/") or n.startswith("/") else n for n in names
    ]
    return [n if safe.count(n) == 1 else f"{i}-{posixpath.basename(n)}" for i, n in enumerate(safe)]


def _tables(study: ResolvedStudy, clean: Store, notes: list[str]) -> dict[str, Content]:
    """The tables in every format that reports have."""
    from ablate.report.formats import BINARY, FORMATS, content
    from ablate.session.judged_tables import tables_of

    tables: list[ReportTable] = tables_of(study, clean)
    found: dict[str, Content] = {}
    for kind in (*FORMATS, *BINARY):
        try:
            rendered = content(kind, tables, epochs=clean.epochs)
        except AblateError as error:  # what this format needs is not installed
            notes.append(f"{study.name}: no {kind}: {error.message}")
            continue
        data = rendered.encode() if isinstance(rendered, str) else rendered
        found[f"tables/{study.name}.{_ENDINGS.get(kind, kind)}"] = data
    return found


def _looks(study: ResolvedStudy, store: Store) -> list[dict[str, Any]]:
    """At which seeds and levels its tables were judged, oldest first."""
    from ablate.store.past_looks import past_looks, title

    return [
        {
            "table": title(table),
            "look": number,
            "seeds": list(look.seeds),
            "alpha": look.alpha,
            "planned": look.planned,
            "verdicts": dict(look.verdicts),
        }
        for table in study.tables
        for number, look in enumerate(past_looks(study, table, store), 1)
    ]


# ------------------------------------------------------------------------------------ results


def _results(
    studies: Sequence[ResolvedStudy],
    states: Mapping[str, TrialState],
    results: Mapping[str, TrialResult],
) -> dict[str, Content]:
    trials, epochs = [], []
    definitions = {key: trial for study in studies for key, trial in study.trials.items()}
    labels = {key: label for study in reversed(studies) for key, label in study.labels.items()}
    for key in states:
        trial, state, result = definitions[key], states[key], results.get(key)
        environment = result.environment if result else {}
        trials.append(
            {
                "key": key,
                "label": labels[key],
                "status": state.status,
                "dataset": trial.dataset.name,
                "model": trial.recipe.model,
                "tricks": " ".join(spec.label for spec in trial.tricks),
                "seed": trial.seed,
                "epochs": result.curves.epochs if result else state.epoch,
                **(dict(sorted(result.final.items())) if result else {}),
                "epoch_seconds": result.curves.seconds if result else None,
                "examples": result.summary.get("examples") if result else None,
                "parameters": result.summary.get("parameters") if result else None,
                "macs": result.summary.get("macs") if result else None,
                "attempt": state.attempt or "",
                "started": result.started if result else "",
                "finished": result.finished if result else "",
                **{name: environment.get(name) for name in (*_MACHINE, *_VERSIONS)},
                "message": state.message,
            }
        )
        if result is not None:
            epochs += [{"key": key, **epoch} for epoch in result.epochs]
    return {
        "results/trials.csv": _csv(trials),
        "results/trials.jsonl": _lines(trials),
        "results/epochs.csv": _csv(epochs),
        "results/epochs.jsonl": _lines(epochs),
    }


def _csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Columns in the order in which rows first have them; what is not known is empty."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writerow({name: _cell(name) for name in columns})  # metrics are named by tricks
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue().encode("utf-8", "backslashreplace")


def _cell(value: Any) -> Any:
    from ablate.report.formats.escape import spreadsheet

    if isinstance(value, str):
        return spreadsheet(value)
    return "" if value is None or value != value else value


def _lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(f"{json.dumps(_finite(dict(row)))}\n" for row in rows).encode()


def _kept(
    store: Store,
    states: Mapping[str, TrialState],
    results: Mapping[str, TrialResult],
    *,
    predictions: bool,
    weights: bool,
    notes: list[str],
) -> dict[str, Content]:
    """Scores of the test images and weights, copied as they are."""
    found: dict[str, Content] = {}
    for key in states:
        arrays = results[key].lines.with_name("predictions.npz") if key in results else None
        if predictions and arrays is not None and _are_scores(arrays, notes):
            found[f"predictions/{key}.npz"] = arrays
        if weights and (path := attempt_reader.weights(store.path, key)) is not None:
            found[f"weights/{key}.pt"] = path
    if predictions and not any(name.startswith("predictions/") for name in found):
        notes.append("no predictions are stored")
    if weights and not any(name.startswith("weights/") for name in found):
        notes.append("no weights are stored: they are kept of trials that others learn from")
    return found


def _are_scores(path: Path, notes: list[str]) -> bool:
    """Whether a file holds predictions: another name of a private file (a hard link) does not."""
    kind = beneath.kind(path)
    if kind is None:
        return False
    why = "no plain file" if kind != "file" else ""
    if not why:
        try:
            found = stored_arrays(path)
        except DAMAGED:
            why = "it cannot be read as arrays"
        else:
            why = "" if "scores" in found else "it has no scores"
    if why:
        notes.append(f"{path} is left out: {why}")
    return not why


# --------------------------------------------------------------------------------- provenance


def _provenance(
    studies: Sequence[ResolvedStudy], results: Mapping[str, TrialResult]
) -> dict[str, Any]:
    machines: dict[str, dict[str, Any]] = {}
    for key in sorted(results):
        environment = results[key].environment
        facts = {name: environment.get(name) for name in (*_MACHINE, *_VERSIONS)}
        entry = machines.setdefault(json.dumps(facts, sort_keys=True), {**facts, "trials": 0})
        entry["trials"] += 1
    tricks = {
        spec.name: {"source": spec.source, "behaviour": spec.behaviour}
        for study in studies
        for trial in study.trials.values()
        for spec in trial.tricks
    }
    moments = [m for r in results.values() for m in (r.started, r.finished) if m]
    return {
        "exported_by": f"ablate {__version__}",
        "studies": [
            {
                "name": study.name,
                "file": study.file,
                "command": study.command,
                "overrides": list(study.overrides),
                "headline": study.headline,
                "tuning": _distinct(
                    t.tuning.model_dump(mode="json") for t in study.tables if t.tuning is not None
                ),
                "seeds": list(study.seeds),
                "metric": study.metric,
                "margin": study.margin,
                "trials": len(study.order),
                "done": sum(key in results for key in study.order),
                "numerics": _distinct(t.numerics.model_dump(mode="json") for t in _trials(study)),
                "datasets": _distinct(t.dataset.model_dump(mode="json") for t in _trials(study)),
            }
            for study in studies
        ],
        "machines": [machines[name] for name in sorted(machines)],
        "tricks": dict(sorted(tricks.items())),
        "trained": {"from": min(moments, default=None), "to": max(moments, default=None)},
    }


def _trials(study: ResolvedStudy) -> Iterator[Any]:
    return (study.trials[key] for key in study.order)


def _distinct(documents: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({json.dumps(each, sort_keys=True): each for each in documents}.values())


def _readme(
    studies: Sequence[ResolvedStudy], states: Mapping[str, TrialState], names: Sequence[str]
) -> str:
    from ablate.report.formats.escape import code, markdown

    done = sum(state.status == "done" for state in states.values())
    lines = [
        f"# {markdown(', '.join(study.name for study in studies))}",
        "",
        f"{done:,} of {len(states):,} trials are done. Made by `ablate export` "
        f"(ablate {__version__}).",
        "",
        "| what | where |",
        "| :-- | :-- |",
        "| the study files, with those that they extend | `studies/NAME/` |",
        "| every row, trial and key that they resolved to | `studies/NAME/resolved.json` |",
        "| at which seeds its tables were judged, and at which level | `studies/NAME/looks.json` |",
        f"| the tables as {_formats(names)} | `tables/` |",
        "| every trial: seed, last metrics, machine | `results/trials.csv`, `.jsonl` |",
        "| every epoch of every trial | `results/epochs.csv`, `.jsonl` |",
        "| versions, machines, commands, data sets | `provenance.json` |",
    ]
    if any(name.startswith("predictions/") for name in names):
        what = "scores of each test image: `ids`, `labels`, `scores` (`numpy.load`)"
        lines.append(f"| {what} | `predictions/KEY.npz` |")
    if any(name.startswith("weights/") for name in names):
        what = "`state_dict` of each (`torch.load(…, weights_only=True)`)"
        lines.append(f"| {what} | `weights/KEY.pt` |")
    lines += [
        "",
        "Accuracies in `results/` are fractions, times are seconds, moments are UTC. A trial's key",
        "is the SHA-256 over everything that decides its result: recipe, tricks with parameters,",
        "data, numerics, seed. A trial trained elsewhere under the same key is the same training.",
        "",
        "To check that the files are whole, in this folder:",
        "",
        "    sha256sum -c SHA256SUMS",
        "",
        "To train it again (`pip install ablate-study`): each study's file, and how it was run",
        "where that file had another place:",
        "",
    ]
    for study in studies:
        place = _places(study).get(study.file, "")
        lines.append(f"- {code(f'studies/{study.name}/{place}')}: {code(study.command)}")
    lines += [
        "",
        "and to compare one trial of a store, bit by bit, with a fresh training of it:",
        "",
        "    ablate verify KEY",
        "",
    ]
    return "\n".join(lines)


def _formats(names: Sequence[str]) -> str:
    words = {ending: kind for kind, ending in _ENDINGS.items()}
    endings = dict.fromkeys(n.rpartition(".")[2] for n in names if n.startswith("tables/"))
    return ", ".join(words.get(ending, ending) for ending in endings)


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name).strip(".-") or "ablate-export"


def _json(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(_finite(document), indent=1) + "\n").encode()


def _finite(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if isinstance(value, Mapping):
        return {str(name): _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


__all__ = ["Export", "collect"]
