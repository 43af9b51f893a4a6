"""Addresses that several rows answer to, in studies stored before such names were refused."""

from __future__ import annotations

import pytest

from ablate.core.resolved_study import ResolvedStudy
from ablate.errors import AblateError
from ablate.report import row_address
from ablate.report.tables.address import addressed
from ablate.report.tables.baseline import against
from tests.helpers.report_studies import study, table

TWO, ONE = "cafe\u0301", "caf\u00e9"
ODD = [
    ("baseline", "baseline", None),
    *((name, "step", 0) for name in (ONE, "mixup", TWO, "0", "warmup + mixup", "+ mixup", "7")),
]
ALONE = {"kind": "one_at_a_time", "reference": "baseline"}
"""Rows 1 and 3 look the same, 2 and 6 are called the same, 4 has the number of row 0."""


def odd() -> ResolvedStudy:
    keys = {TWO: "other"}  # else the helper's keys of both would be one
    return study(table(ODD, 2, keys=keys, **ALONE), name="g")


def row_of(address: str, found: ResolvedStudy | None = None) -> int:
    ((of, row, _),) = addressed(found or odd(), address)
    return of.rows.index(row)


@pytest.mark.parametrize(
    ("address", "said", "hint"),
    [
        (f"g:{ONE}", f"row 1 ({ONE}) and row 3 ({TWO})", "g:@1 or g:@3"),
        (f"g:{TWO}", f"row 1 ({ONE}) and row 3 ({TWO})", "g:@1 or g:@3"),
        ("g:mixup/imagenette/1", "row 2 (mixup) and row 6 (+ mixup)",
         "g:@2/imagenette/1 or g:@6/imagenette/1"),
        ("g:main:0", "row 0 (baseline) and row 4 (0)", "g:main:@0 or g:main:@4"),
    ],
)  # fmt: skip
def test_an_address_of_several_rows_is_refused(address: str, said: str, hint: str) -> None:
    with pytest.raises(AblateError) as caught:
        addressed(odd(), address)
    assert caught.value.message == f"'{address}' is more than one row of main: {said}"
    assert caught.value.hint == hint
    name = address.removeprefix("g:").removeprefix("main:").partition("/")[0]
    with pytest.raises(AblateError) as caught:
        against(odd(), name)
    assert caught.value.message == f"--baseline '{name}' is more than one row of main: {said}"
    rows = [word for word in hint.replace("/imagenette/1", "").split() if "@" in word]
    assert caught.value.hint == " or ".join(f"--baseline {row[row.index('@') :]}" for row in rows)


def test_what_the_refusal_offers_works() -> None:
    for number in range(len(ODD)):
        assert row_of(f"g:@{number}") == number
        row = against(odd(), f"@{number}").tables[0].rows[number]
        assert row.above is None
    assert row_of("g:warmup + mixup") == 5
    assert row_of("g:5") == 5
    assert row_of("g:7") == 7  # its label and its number: one row
    with pytest.raises(AblateError, match="no row '@8'"):
        row_of("g:@8")


def test_a_name_is_found_in_either_writing() -> None:
    rows = [("baseline", "baseline", None), (f"+ {ONE}", "step", 0)]
    found = study(table(rows, 1), name=f"{ONE}/b")
    assert row_of(f"{TWO}/b:{TWO}", found) == 1
    assert row_of(f"{ONE}/b:+ {TWO}/imagenette/0", found) == 1


def test_a_label_with_a_slash_is_found() -> None:
    rows = [("baseline", "baseline", None), ("+ weights a/b alone", "control", 0)]
    found = study(table(rows, 2), name="g")
    assert row_of("g:weights a/b alone", found) == 1
    assert row_of("g:+ weights a/b alone/imagenette/1", found) == 1


def test_data_sets_whose_names_go_on_as_a_seed_does() -> None:
    rows = [("baseline", "baseline", None), ("mixup", "step", 0)]
    folders = ("imagefolder:a", "imagefolder:a/0", "imagefolder:a/b")
    found = study(*(table(rows, 2, dataset=folder) for folder in folders), name="g")
    assert row_address(found, "g:mixup/imagefolder:a/b/1") == ("imagefolder:a/b--mixup-1",)
    assert row_address(found, "g:mixup/imagefolder:a/0/1") == ("imagefolder:a/0--mixup-1",)
    assert row_address(found, "g:mixup/imagefolder:a/1") == ("imagefolder:a--mixup-1",)
    both = "is both all of imagefolder:a/0 and seed 0 of imagefolder:a"
    with pytest.raises(AblateError, match=both):
        row_address(found, "g:mixup/imagefolder:a/0")
    with pytest.raises(AblateError, match="no seed '9'; the study has 0, 1"):
        row_address(found, "g:mixup/imagefolder:a/9")
