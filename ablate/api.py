"""ablate from Python, for scripts and notebooks: a study, its run, and its tables in every format.

    import ablate
    from ablate import Study

    results = Study.load("studies/quickstart.toml").run()
    results.tables[0].rows[1].verdict
    print(results.to_markdown())
    print(results.compare("paper"))
    ablate.query("select label, top1 from trials where status = 'done'")

Training happens in processes of its own, so a script needs no `if __name__ == "__main__":` and a
notebook's state cannot change a result.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.console.log_view import LogView, stamped
from ablate.console.others_code import tell_functions
from ablate.console.output import Output
from ablate.console.stages import stage_lines
from ablate.console.tracker import Tracker
from ablate.errors import AblateError
from ablate.report.options import Asked
from ablate.report.tables.baseline import two_references
from ablate.study import load_study
from ablate.study import model as study_values
from ablate.util.files import write_result
from ablate.util.own_code import without_plugins
from ablate.util.paths import store_path

if TYPE_CHECKING:
    from ablate.core.resolved_study import ResolvedStudy
    from ablate.execution.executor import Workers
    from ablate.execution.runner import Outcome
    from ablate.planning.plan import Plan
    from ablate.report.model import ReportTable
    from ablate.report.options import Asked
    from ablate.session.session import Session
    from ablate.session.stages import Ran
    from ablate.stats import Look


@dataclass(frozen=True)
class Results:
    """The tables of a study, as they were when this was made: a copy, nothing stays open."""

    tables: tuple[ReportTable, ...]
    name: str
    _resolved: ResolvedStudy = field(repr=False, compare=False)
    _store: Path = field(repr=False, compare=False)
    _asked: Asked = field(repr=False, compare=False)
    _beside: str | None = field(repr=False, compare=False)

    def __init__(self, resolved: ResolvedStudy, store: Path, asked: Asked | None = None) -> None:
        """asked: what is compared instead of the study's metric and references, or besides."""
        from ablate.session.judged_tables import tables_of
        from ablate.store.store import Store

        asked = asked or Asked()
        tables = tables_of(resolved, Store.open(store, create=False), asked)
        object.__setattr__(self, "tables", tuple(tables))
        object.__setattr__(self, "name", resolved.name)
        object.__setattr__(self, "_resolved", resolved)
        object.__setattr__(self, "_store", store)
        object.__setattr__(self, "_asked", asked)
        object.__setattr__(self, "_beside", None)

    def metric(self, name: str) -> Results:
        """The same rows compared by another metric: "top5", "loss", "ece", any that was measured.

        Another than the study's is exploratory, and its tables say so. Raises AblateError for one
        that was not measured.
        """
        return self._asking(metric=name)

    def baseline(self, row: str) -> Results:
        """Every row compared with one: its label, with or without its sign, or its number."""
        return self._asking(baseline=row)

    def new_images(self) -> Results:
        """With a block of intervals for new test images too; needs three seeds."""
        return self._asking(new_images=True)

    def per_class(self) -> Results:
        """With a block of the accuracy of each class, and how each row changes it."""
        return self._asking(per_class=True)

    def mcnemar(self) -> Results:
        """With a block that compares two checkpoints, not two recipes; of one seed."""
        return self._asking(mcnemar=True)

    def compare(self, name: str = "paper") -> Results:
        """The same tables with published figures beside their rows, in every format.

        name: of the publication; "paper" is He et al., arXiv 1812.01187. Raises AblateError for
        another, and where it has nothing on any row.
        """
        from ablate.report.published.attach import beside_paper, check_name, nothing_published

        check_name(name)
        if self._asked.baseline is not None:
            raise two_references()
        tables = beside_paper(self._resolved, self.tables)
        if not any(table.paper for table in tables):
            raise nothing_published([self.name])
        found = copy.copy(self)
        object.__setattr__(found, "tables", tuple(tables))
        object.__setattr__(found, "_beside", name)
        return found

    def to_markdown(self) -> str:
        """As `ablate report --format markdown`."""
        return self._rendered("markdown")

    def to_latex(self) -> str:
        """As `ablate report --format latex`: for a document with booktabs."""
        return self._rendered("latex")

    def to_html(self) -> str:
        """As `ablate report --format html`; the curves of finished trials are read now."""
        from ablate.report import render
        from ablate.store.store import Store

        epochs = Store.open(self._store, create=False).epochs
        return render("html", self.tables, epochs=epochs)

    def to_csv(self) -> str:
        """As `ablate report --format csv`."""
        return self._rendered("csv")

    def to_json(self) -> str:
        """As `ablate report --format json`."""
        return self._rendered("json")

    def to_parquet(self, path: str | Path) -> None:
        """As `ablate report --format parquet -o path`. Raises AblateError if it cannot write."""
        from ablate.report import render_parquet

        write_result(Path(path).expanduser(), render_parquet(self.tables))

    def methods(self, kind: str = "markdown") -> str:
        """As `ablate report --methods`: the paragraphs for a paper, in "markdown" or "latex"."""
        from ablate.report import render_methods

        return render_methods(self.tables, kind)

    def rows(self) -> list[dict[str, Any]]:
        """One dict per row of every table, for a data frame: names, means, deltas, verdicts.

        Accuracies are in percent and differences in points; what is not known is None.
        """
        from ablate.report.formats.json_tables import as_dict

        found = []
        for table in map(as_dict, self.tables):
            for row in table["rows"]:
                delta, base = row["delta"] or {}, row["delta_baseline"] or {}
                found.append(
                    {name: table[name] for name in ("study", "ablation", "dataset", "column")}
                    | {name: row[name] for name in ("row", "role", "n", "mean", "sd", "verdict")}
                    | {name: delta.get(name) for name in ("delta", "low", "high", "p_holm")}
                    | {"delta_baseline": base.get("delta")}
                    | {name: row[name] for name in ("epoch_seconds", "images_per_second")}
                    | {name: row[name] for name in ("parameters", "macs")}
                    | {"values": [trial["value"] for trial in row["trials"]]}
                    | ({"published": row["published"]} if "published" in row else {})
                )
        return found

    def _asking(self, **more: Any) -> Results:
        """Asked again of the store, with what was asked before."""
        asked = replace(self._asked, **more)
        if asked.baseline is not None and self._beside is not None:
            raise two_references()
        found = Results(self._resolved, self._store, asked)
        return found if self._beside is None else found.compare(self._beside)

    def _rendered(self, kind: str) -> str:
        from ablate.report import render

        return render(kind, self.tables)

    def __repr__(self) -> str:
        rows = sum(len(table.rows) for table in self.tables)
        return f"Results({self.name!r}: {len(self.tables)} tables, {rows} rows; print() shows them)"

    def __str__(self) -> str:
        from ablate.report import render_terminal

        return render_terminal(self.tables, width=100, color=False, ascii=False)

    def _repr_html_(self) -> str:
        """What a notebook shows: Verdict, Effects and Numbers of the HTML report."""
        from ablate.report.formats.html import render_notebook

        return render_notebook(self.tables)

    def _repr_markdown_(self) -> str:
        """What a notebook without HTML shows."""
        return self.to_markdown()


class Study:
    """A study file, loaded and checked. Make one with `Study.load`."""

    def __init__(
        self,
        definition: study_values.Study,
        *,
        data: Path | None = None,
        bundled_only: bool = False,
        seeds_asked: bool = False,
    ) -> None:
        """seeds_asked: whether its seeds are not the file's."""
        self.definition = definition
        self._data = data
        self._bundled_only = bundled_only
        self._seeds_asked = seeds_asked

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        overrides: Sequence[str] = (),
        seeds: int | None = None,
        datasets: Sequence[str] = (),
        limit: int | None = None,
        data: str | Path | None = None,
        bundled_only: bool = False,
    ) -> Study:
        """The study in a file, or one that ships with ablate by its name.

        overrides: "recipe.epochs=5", as `--set` has them. seeds: 0 … seeds − 1. datasets: these
        only. limit: images per split. data: the folder with the data sets. bundled_only: nothing
        runs but ablate's own code: no other tricks, no functions as data sets or models.

        Raises `ablate.errors.StudyError` with every problem of the file at once.
        """
        definition = load_study(
            path,
            overrides=overrides,
            seeds=seeds,
            datasets=datasets,
            limit=limit,
            bundled_only=bundled_only,
        )
        root = Path(data).expanduser() if data is not None else None
        return cls(definition, data=root, bundled_only=bundled_only, seeds_asked=seeds is not None)

    @property
    def name(self) -> str:
        """What it is stored under."""
        return self.definition.name

    def plan(
        self,
        *,
        device: str = "auto",
        store: str | Path | None = None,
        until: str | None = None,
        max_seeds: int | None = None,
    ) -> Plan:
        """Rows, trials, time, and what the seeds can resolve; print it. Trains nothing.

        until, max_seeds: as for `run`; it then says what each look can resolve.
        """
        from ablate.planning.plan import make_plan

        with without_plugins(self._bundled_only):
            return make_plan(
                self.definition,
                store=_store_path(store),
                device=device,
                data_root=self._data,
                command=self._command("plan", until, max_seeds),
                bundled_only=self._bundled_only,
                looks=self._looks(until, max_seeds),
            )

    def run(
        self,
        *,
        device: str = "auto",
        store: str | Path | None = None,
        quiet: bool = False,
        until: str | None = None,
        max_seeds: int | None = None,
    ) -> Results:
        """Train what the store does not have yet, and return the tables.

        quiet: print nothing while training. until: "resolved" adds seeds at three looks that are
        planned beforehand, instead of the study's own; max_seeds: 6 or 10 of them at most.

        A trial that fails is a status in the results, not an exception. Raises AblateError for what
        is refused before training, and KeyboardInterrupt if interrupted; the same call then
        continues.
        """
        from ablate.session.session import open_session

        tell_functions(self.definition, Output(quiet=1 if quiet else 0))
        with without_plugins(self._bundled_only):
            session = open_session(
                self.definition,
                store=_store_path(store),
                device=device,
                data_root=self._data,
                command=self._command("run", until, max_seeds),
                bundled_only=self._bundled_only,
                looks=self._looks(until, max_seeds),
            )
            ran = _run(session, quiet=quiet)
        if ran.outcome.signal is not None:
            raise KeyboardInterrupt
        return Results(ran.session.resolved, session.store.path)

    def results(self, *, store: str | Path | None = None) -> Results:
        """The tables of what is trained so far. Raises AblateError if nothing is."""
        from ablate.session.lookup import from_file
        from ablate.store.store import Store

        opened = Store.open(_store_path(store), create=False)
        with without_plugins(self._bundled_only):
            found = from_file(
                self.definition,
                opened,
                data_root=self._data,
                command=self._command("report"),
                seeds_asked=self._seeds_asked,
            )
        return Results(found.resolved, opened.path)

    def _looks(self, until: str | None, max_seeds: int | None) -> tuple[Look, ...]:
        from ablate.planning.looks import looks_of

        asked = len(self.definition.seeds) if self._seeds_asked else None
        return looks_of(until, max_seeds, asked)

    def _command(self, name: str, until: str | None = None, max_seeds: int | None = None) -> str:
        import shlex

        definition = self.definition
        words = ["ablate", name, definition.file]
        if until is None:
            words += ["--seeds", str(len(definition.seeds))]
        else:
            words += ["--until", until]
            words += ["--max-seeds", str(max_seeds)] if max_seeds is not None else []
        for dataset in definition.datasets:
            words += ["--dataset", dataset]
        if definition.limit is not None:
            words += ["--limit", str(definition.limit)]
        for setting in definition.overrides:
            words += ["--set", setting]
        return shlex.join(words)

    def __repr__(self) -> str:
        return f"Study({self.definition.file!r})"


def query(
    sql: str, *, store: str | Path | None = None, timeout: float = 30.0
) -> list[dict[str, Any]]:
    """The rows of one read-only SQL statement over a store, as `ablate query` asks it.

    The views are trials, epochs, predictions and effects; docs/query.md has their columns. A copy:
    nothing stays open. The second of two columns of one name is "name_1". timeout: seconds.

    Raises AblateError for what is not allowed, does not parse, or takes too long or too much.
    """
    import warnings

    from ablate.sql.statement import ask, names_of
    from ablate.store.store import Store

    opened = Store.open(_store_path(store), create=False)
    with ask(
        opened, sql, timeout=timeout, warn=lambda text: warnings.warn(text, stacklevel=2)
    ) as a:
        names = names_of(a.columns)
        return [dict(zip(names, row, strict=True)) for piece in a.pieces() for row in piece]


def _store_path(store: str | Path | None) -> Path:
    return Path(store).expanduser() if store is not None else store_path()


def _run(session: Session, *, quiet: bool) -> Ran:
    from contextlib import ExitStack

    from ablate.core.resolved_study import unchosen_in_words
    from ablate.planning.looks import open_rows
    from ablate.session.stages import run_stages

    output = Output(quiet=1 if quiet else 0)
    shared: list[Workers] = []  # by all stages

    def train(session: Session) -> Outcome:
        if not shared:
            for warning in session.warnings():
                output.warn(warning)
        output.note(stamped(session.headline().replace(" · ", ", ")))
        session.prepare()
        if not shared:  # later stages train the same rows
            shared.append(stack.enter_context(session.workers()))
            for note in session.check_effects():  # while they import
                output.warn(note)
        work, seconds = session.work, session.seconds()
        states = work.states
        tracker = Tracker.begin(session.resolved, states, session.store, work.again, seconds)
        with LogView(output, tracker) as view:
            return session.train(view, shared[0])

    def ended(session: Session, following: Session | None) -> None:
        for line in stage_lines(session, following):
            output.note(stamped(line))

    with ExitStack() as stack:
        ran = run_stages(session, train, ended)
    if ran.trained:
        labels, outcome = ran.session.resolved.labels, ran.outcome
        for key in outcome.wrong:
            output.warn(f"{labels[key]}: {outcome.statuses[key]} {outcome.messages[key]}")
        for table, row in open_rows(ran.session.resolved):
            settings = table.tuning.settings if table.tuning else ()
            why = unchosen_in_words(settings, row.reasons)
            output.warn(f"{row.label}: {why}, so not trained")
    return ran


__all__ = ["AblateError", "Results", "Study", "query"]
