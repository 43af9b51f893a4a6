"""Labels of the cost chart: never on one another, at no width of the page."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.report.formats.html.drawing import Label, axis, placed, round_step

PLACES = st.lists(st.tuples(st.floats(0.01, 0.87), st.floats(0.05, 0.95)), min_size=2, max_size=30)


def made(places: list[tuple[float, float]]) -> tuple[list[Label], float]:
    """As the chart makes them: names of up to nine points, numbers of more."""
    names = len(places) <= 9
    height = max(230, 18 * len(places) + 20)
    labels = [
        Label("+ label_smoothing" if names else str(i), x, y * height, y * height, y * height)
        for i, (x, y) in enumerate(places)
    ]
    return labels, float(height)


@settings(max_examples=25, deadline=None)
@given(PLACES)
def test_no_two_labels_meet(places: list[tuple[float, float]]) -> None:
    labels, height = made(places)
    found = placed(labels, height)
    for width in (290, 480, 1020):
        boxes = []
        for label in found:
            long = 7.6 * len(label.text)
            left = label.x * width + (-10 - long if label.left else 10)
            boxes.append((left, left + long, label.y))
        for a, b in combinations(boxes, 2):
            across = min(a[1], b[1]) - max(a[0], b[0])
            assert across <= 0 or abs(a[2] - b[2]) >= 14.9


@settings(max_examples=25, deadline=None)
@given(PLACES)
def test_labels_keep_their_points_and_stay_in_the_chart(places: list[tuple[float, float]]) -> None:
    labels, height = made(places)
    for asked, label in zip(labels, placed(labels, height), strict=True):
        assert (asked.text, asked.x) == (label.text, label.x)
        assert label.y - label.moved == pytest.approx(asked.y)
        assert 0 <= label.y <= height


def test_a_label_alone_stands_beside_its_point() -> None:
    left, right = placed([Label("a", 0.2, 50, 40, 60), Label("b", 0.8, 150, 140, 160)], 230)
    assert (left.left, left.moved) == (False, 0)
    assert (right.left, right.moved) == (True, 0)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_an_axis_holds_its_values_and_its_ticks_are_round(values: list[float]) -> None:
    found = axis(values)
    assert all(0 < found.at(v) < 1 for v in values)
    assert all(0 <= found.at(t) <= 1 for t in found.ticks)
    assert 1 <= len(found.ticks) <= 8


def test_steps_are_one_two_and_five() -> None:
    assert [round_step(x) for x in (0.9, 1.1, 2.1, 5.1, 0.03)] == [1, 2, 5, 10, 0.05]
