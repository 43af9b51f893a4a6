"""A study's tables from Python: what is asked of them, and every format."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ablate.report.asked import Asked
    from ablate.report.model import ReportTable
    from ablate.resolved import ResolvedStudy


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
        from ablate.lookup import tables_of
        from ablate.report.asked import Asked
        from ablate.store import Store

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
        from ablate.report.baseline import two_references
        from ablate.report.published import beside_paper, check_name, nothing_published

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
        from ablate.store import Store

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
        from ablate.files import write_result
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
        from ablate.report.data import as_dict

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
        from ablate.report.baseline import two_references

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
        from ablate.report.html import render_notebook

        return render_notebook(self.tables)

    def _repr_markdown_(self) -> str:
        """What a notebook without HTML shows."""
        return self.to_markdown()
