"""Several studies in one report: each below its title, and what differs between them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from ablate.core.table_looks import EarlierLook, TableLook
from ablate.report import build_tables, render_json, render_latex, render_markdown
from ablate.report.captions import notes
from tests.helpers.reference_tables import NETTE_100, nette, one_seed, show, woof
from tests.helpers.report_studies import GPU, GROUP1, results, study, table

TWO = (
    "2 families of comparisons: of useless tricks each claims something in up to 5% of reports, "
    "one of them or more in up to about 10%"
)
VALUES = {label: (70.0 + i, 71.5, 71.0) for i, (label, *_) in enumerate(GROUP1)}


def other(name="group2", *, device="NVIDIA RTX 4090", examples=3925, **more):
    done = results(
        VALUES, environment=GPU | {"device_name": device}, summary={"examples": examples}
    )
    return build_tables(study(table(GROUP1), name=name, **more), done, {})


def changed(tables, **settings):
    """The tables with another epoch count or other settings in their provenance."""
    return [replace(t, provenance=replace(t.provenance, **settings)) for t in tables]


def test_studies_stand_below_their_titles():
    recipe = "resnet50_v1 · 20 epochs · batch 64 · lr 0.025 · 160 px"
    text = show(nette() + other())
    assert text.startswith(f"group1 · {recipe}\n\n{NETTE_100}\ngroup2 · {recipe}\n\nimagenette ")
    text = render_markdown(nette() + other())
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        *("## group1", "### group1 on imagenette", "## group2", "### group2 on imagenette")
    ]
    document = json.loads(render_json(nette() + other()))
    assert [table["study"] for table in document["tables"]] == ["group1", "group2"]
    assert document["notes"] == [TWO]
    text = render_latex(nette() + other())
    assert text.index("% group1") < text.index("tab:group1") < text.index("% group2")


def test_one_study_has_no_title():
    assert show(nette() + woof()).startswith("imagenette")
    assert "## " not in render_markdown(nette()).replace("### ", "")


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (lambda: other(margin=1.0), "margins differ: ±0.5 points in group1, ±1 points in group2"),
        (
            lambda: other(metric="loss"),
            "metrics differ: top-1 in group1, loss in group2",
        ),
        (
            lambda: [replace(t, alpha=0.1) for t in other()],
            "levels of the intervals differ: 95% in group1, 90% in group2",
        ),
        (lambda: changed(other(), epochs=5), "epochs differ: 20 in group1, 5 in group2"),
        (
            lambda: other(examples=100),
            "test images of imagenette differ: 3,925 in group1, 100 in group2",
        ),
        (
            lambda: changed(other(), settings=("resnet50_v1", "160 px", "exact numerics")),
            "numerics differ: fast numerics in group1, exact numerics in group2",
        ),
        (
            lambda: changed(other(), settings=("resnet50_v1", "128 px", "fast numerics")),
            "image sizes differ: 160 px in group1, 128 px in group2",
        ),
        (
            lambda: [replace(t, study="group2") for t in one_seed()],
            "seeds differ: 0–2 in group1, 0 in group2",
        ),
    ],
)
def test_another_protocol_is_flagged(second, said):
    found = notes(nette() + second())
    assert said in found
    assert any(note.startswith("compare rows within a study only") for note in found)
    for text in (show(nette() + second(), 200), render_markdown(nette() + second())):
        assert said.replace("~", "\\~") in text
    assert said in json.loads(render_json(nette() + second()))["notes"]


def test_times_of_other_devices_are_flagged():
    found = notes(nette() + other(device="NVIDIA H100"))
    assert found == [
        "times are not comparable: devices differ: RTX 4090 in group1, H100 in group2",
        TWO,
    ]
    # between the tables of one study as well, where each has times of its own
    [second] = [
        replace(t, study="group1", dataset="imagewoof") for t in other(device="NVIDIA H100")
    ]
    assert notes([*nette(), second]) == [
        "times are not comparable: devices differ: RTX 4090 in imagenette, H100 in imagewoof",
        TWO,
    ]
    assert "! times are not comparable" in show([*nette(), second])


def test_what_agrees_is_not_flagged():
    assert notes(nette() + other()) == [TWO]
    assert notes(nette() + woof()) == [TWO]
    assert notes(nette()) == []
    assert notes(one_seed() + one_seed()) == []  # no verdict, no family


def test_several_families_err_more_often_than_one():
    """Against a simulation: k families at 5% each of reports of useless tricks."""
    drawn = np.random.default_rng(5).random((20_000, 5)) < 0.05
    share = 100 * drawn.any(axis=1).mean()
    [said] = notes([replace(t, dataset=f"d{i}") for i in range(5) for t in nette()])
    assert said.startswith("5 families of comparisons: of useless tricks each claims something")
    assert float(said.split("up to about ")[1].rstrip("%")) == pytest.approx(share, abs=1.5)
    other_level = [replace(t, alpha=0.10) for t in nette()]
    [said] = [note for note in notes(nette() + other_level) if "families" in note]
    assert "each claims something in its own share of reports" in said
    assert said.endswith(f"about {100 * (1 - 0.95 * 0.90):.0f}%")
    # what was spent at earlier looks counts: .05 at three seeds and .0025 now
    second = TableLook(2, 0.0025, (EarlierLook((0, 1, 2), 0.05),))
    again = [replace(t, alpha=0.0025, look=second) for t in nette()]
    [said] = [note for note in notes(again + again) if "families" in note]
    assert "each claims something in up to 5.25% of reports" in said
    assert said.endswith(f"about {100 * (1 - (1 - 0.0525) ** 2):.0f}%")
    for text in (show(nette() + woof(), 250), render_markdown(nette() + woof())):
        assert TWO in text.replace("\\", "")


def test_names_are_escaped_and_many_are_counted():
    bad = other("a|b\u202e", margin=1.0)
    many = [t for i in range(7) for t in other(f"s{i}")]
    found = notes([*many, *bad])
    assert found[0] == (
        "margins differ: ±0.5 points in s0, s1, s2 and 4 others, ±1 points in a|b\u202e"
    )
    for text in (show([*many, *bad]), render_markdown([*many, *bad]), render_latex([*many, *bad])):
        assert "\u202e" not in text
    assert "a\\|b" in render_markdown([*many, *bad])


def test_transposed_studies_are_not_one_table():
    made = [
        [replace(t, transpose=True, study=name, column="model x") for t in nette()]
        for name in ("a", "b")
    ]
    assert render_markdown([*made[0], *made[1]]).count("### ") == 2
