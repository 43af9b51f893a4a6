"""Equal keys mean equal parameters, and parameters that no type tells apart have one form.

The property is held over many types of fields, with the values that TOML can write: whatever two
studies say, if their tricks have one key, what two trainings get prints the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from typing import Annotated, Any, Literal, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, create_model
from pydantic import StrictInt as Int
from pydantic.dataclasses import dataclass

from ablate import Trick
from ablate.core.recipe import Recipe
from ablate.core.trial import DatasetRef, Numerics, Trial, TrickSpec
from ablate.design.kept_parameters import Kept, keep
from ablate.design.rows import RowProblem
from ablate.study.trick_configs import make_trick
from ablate.tricks.parameters import alike, made


class Colour(Enum):
    RED, BLUE = "red", "blue"


class Level(IntEnum):
    LOW, HIGH = 1, 2


class Inner(BaseModel):
    model_config = ConfigDict(frozen=True)
    x: float = 0.5
    y: int | float = 1


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    x: float = 0.5


class Pair(NamedTuple):
    a: int
    b: float


@dataclass(frozen=True)
class Point:
    a: int
    b: float = 1


WHOLE = st.one_of(st.integers(-3, 3), st.integers(-(2**62), 2**62))
REAL = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 1e0, 1.0, 2.0, -1.0, 1e22, 2.0**53, 2.0**53 - 1, 5e-324, 0.1]),
    st.integers(-3, 3).map(float),
)
NUMBER = WHOLE | REAL
# "é" composed and decomposed, and the Ångström sign, which NFC writes as a letter
TEXT = st.sampled_from(["", "a", "b", "\u00e9", "e\u0301", "\u212b", "\u00c5", "1", "1.0", "true"])
NAMES = st.sampled_from(["a", "b", "\u00e9", "e\u0301", "1", "1.0", "x", "y"])
ANY = st.recursive(
    NUMBER | TEXT | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


def table(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(NAMES, values, max_size=3)


def listed(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(values, max_size=3)


INNER = st.fixed_dictionaries({}, optional={"x": NUMBER, "y": NUMBER})
TYPES: Mapping[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "int": (int, WHOLE),
    "float": (float, NUMBER),
    "bool": (bool, st.booleans()),
    "str": (str, TEXT),
    "literal": (Literal["a", "b", 1, 2], st.sampled_from(["a", "b", 1, 2])),
    "enum": (Colour, st.sampled_from(["red", "blue"])),
    "int enum": (Level, st.sampled_from([1, 2])),
    "optional": (float | None, NUMBER),
    "decimal": (Decimal, st.sampled_from([1, 1.0, "1", "1.0", "1.00", "-0", 0.1])),
    "fraction": (Fraction, st.sampled_from([1, 1.0, "1/2", "2/4", 0.5])),
    "bool or int": (bool | int, st.booleans() | WHOLE),
    "int or str": (int | str, WHOLE | TEXT),
    "float or str": (float | str, NUMBER | TEXT),
    "floats": (tuple[float, ...], listed(NUMBER)),
    "two floats": (tuple[float, float], st.tuples(NUMBER, NUMBER).map(list)),
    "ints": (list[int], listed(WHOLE)),
    "set": (set[str], st.lists(TEXT, max_size=4)),
    "numbers": (frozenset[float], st.lists(NUMBER, max_size=4)),
    "nested": (tuple[tuple[int, float], ...], listed(st.tuples(WHOLE, NUMBER).map(list))),
    "pair": (Pair, st.tuples(WHOLE, NUMBER).map(list)),
    "point": (Point, st.fixed_dictionaries({"a": WHOLE}, optional={"b": NUMBER})),
    "one of two models": (Pair | Point, st.fixed_dictionaries({"a": WHOLE, "b": NUMBER})),
}
# A trick can see more of these than the key had.
SEEN: Mapping[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "int or float": (int | float, NUMBER),
    "float or int": (Annotated[float | int, Field(ge=-2, le=2)], st.integers(-2, 2) | REAL),
    "first that fits": (Annotated[int | float, Field(union_mode="left_to_right")], NUMBER),
    "counts or shares": (tuple[int, ...] | tuple[float, ...], listed(NUMBER)),
    "count and number": (tuple[Int, int | float], st.tuples(WHOLE, NUMBER).map(list)),
    "set of either": (frozenset[int | float], st.lists(NUMBER, max_size=4)),
    "anything": (Any, ANY),
    "table": (dict[str, float], table(NUMBER)),
    "of ints": (dict[int, float], st.dictionaries(st.sampled_from("123"), NUMBER, max_size=3)),
    "tables": (dict[str, dict[str, bool]], table(table(st.booleans()))),
    "model": (Inner, INNER),
    "models": (tuple[Inner, ...], listed(INNER)),
    "set of models": (dict[str, frozenset[int]], table(st.lists(WHOLE, max_size=3))),
    "open model": (Open, st.dictionaries(NAMES.filter("x".__ne__), NUMBER, max_size=3)),
    "int or table": (int | float | dict[str, float], NUMBER | table(NUMBER)),
}


def trick_with(annotation: Any) -> type[Trick]:
    return create_model("Mine", __base__=Trick, a=(annotation, ...))


CLASSES = {name: trick_with(kind) for name, (kind, _) in [*TYPES.items(), *SEEN.items()]}


def kept(cls: type[Trick], value: Any) -> tuple[Kept, TrickSpec] | None:
    """As planning keeps it; None for what it refuses."""
    try:
        found = keep(make_trick(cls, {"a": value}), {"a": value}, "mine")
    except (ValidationError, RowProblem):
        return None
    spec = TrickSpec(
        name="mine",
        label="mine",
        source="",
        params=dict(found.params),
        behaviour="v1",
        exact=found.exact,
    )
    return found, spec


def trained(cls: type[Trick], spec: TrickSpec) -> str:
    """What the process that trains gets, after the way there."""
    there = TrickSpec.model_validate_json(json.dumps(json.loads(spec.model_dump_json())))
    assert there == spec
    assert there.keyed() == spec.keyed()
    return repr(made(cls, there.given()))


def rewritten(draw: Any, value: Any) -> Any:
    """The value, its numbers in other forms and its tables in another order."""
    if isinstance(value, dict):
        pairs = [(key, rewritten(draw, item)) for key, item in value.items()]
        return dict(draw(st.permutations(pairs)))
    if isinstance(value, list):
        return [rewritten(draw, item) for item in value]
    if isinstance(value, bool) or not isinstance(value, int | float) or not draw(st.booleans()):
        return value
    if value == 0:
        return draw(st.sampled_from([0, 0.0, -0.0]))
    return int(value) if isinstance(value, float) and value.is_integer() else float(value)


@pytest.mark.parametrize("name", CLASSES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_equal_keys_are_equal_parameters(name: str, data: st.DataObject) -> None:
    cls = CLASSES[name]
    values = (TYPES | SEEN)[name][1]
    one = data.draw(values)
    other = data.draw(st.one_of(values, st.just(one).map(lambda v: rewritten(data.draw, v))))
    found = [kept(cls, value) for value in (one, other)]
    for each in found:
        if each is not None:
            assert repr(each[0].trick) == trained(cls, each[1])  # planned is trained
    if found[0] is not None and found[1] is not None:
        (_, first), (_, second) = found[0], found[1]
        if first.keyed() == second.keyed():
            assert trained(cls, first) == trained(cls, second)


@pytest.mark.parametrize("name", TYPES)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_what_no_trick_can_see_has_the_key_of_before(name: str, data: st.DataObject) -> None:
    """Written out here as it was at commit 4536c7a."""
    found = kept(CLASSES[name], data.draw(TYPES[name][1]))
    assert found is not None
    spec = found[1]
    assert spec.exact == ()
    assert "exact" not in spec.model_dump() | json.loads(spec.model_dump_json())

    def folded(value: Any) -> Any:
        if isinstance(value, list):
            return [folded(item) for item in value]
        if isinstance(value, dict):
            return {key: folded(item) for key, item in value.items()}
        if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
            return int(value)
        return value

    before = {"name": "mine", "params": folded(spec.params), "behaviour": "v1"}
    assert spec.keyed() == json.dumps(before, sort_keys=True)


@pytest.mark.parametrize(
    ("name", "value", "exact"),
    [
        ("int or float", 1, True),
        ("int or float", 1.0, True),
        ("int or float", 0.5, False),
        ("int or float", 2**60, False),  # its float has another key by itself
        ("count and number", [1, 0.5], False),
        ("count and number", [1, 2], True),
        ("table", {"a": 1.0}, False),
        ("table", {"a": 1.0, "b": 2.0}, True),
        ("tables", {"a": {"b": True}}, False),
        ("tables", {"a": {"b": True, "c": True}}, True),
        ("model", {"y": 1.5, "x": 1}, False),
        ("model", {"x": 1}, True),  # y is 1
        ("open model", {"a": "1", "b": "2"}, True),
        ("anything", [True, "a", 0.5], False),
    ],
)
def test_only_what_a_trick_can_see_is_keyed_as_it_is_written(
    name: str, value: Any, exact: bool
) -> None:
    found = kept(CLASSES[name], value)
    assert found is not None
    assert found[1].exact == (("a",) if exact else ())


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("int or float", 1, 1.0),
        ("table", {"a": 0.1, "b": 0.9}, {"b": 0.9, "a": 0.1}),
        ("tables", {"x": {"a": True, "b": True}}, {"x": {"b": True, "a": True}}),
        ("anything", {"a": [1]}, {"a": [1.0]}),
        ("count and number", [1, 2], [1, 2.0]),
    ],
)
def test_what_a_trick_sees_apart_has_two_keys(name: str, one: Any, other: Any) -> None:
    specs = [kept(CLASSES[name], value) for value in (one, other)]
    assert specs[0] is not None
    assert specs[1] is not None
    assert trained(CLASSES[name], specs[0][1]) != trained(CLASSES[name], specs[1][1])
    assert specs[0][1].keyed() != specs[1][1].keyed()


def test_there_is_one_zero() -> None:
    for name in ("float", "int or float", "anything", "floats"):
        value = [-0.0] if name == "floats" else -0.0
        found = kept(CLASSES[name], value)
        assert found is not None
        assert "-0.0" not in repr(found[0].trick) + trained(CLASSES[name], found[1])


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (SecretStr, "word"),  # JSON has asterisks
        (Annotated[float, Field(exclude=True)], 0.5),
        (frozenset[str] | list[str], ["a"]),
        (Annotated[int | float, Field(union_mode="left_to_right")], 1.0),
        (tuple[int, ...] | tuple[float, ...], [1.0, 2.0]),
    ],
)
def test_what_training_would_get_otherwise_is_refused(annotation: Any, value: Any) -> None:
    cls = trick_with(annotation)
    with pytest.raises(RowProblem) as refused:
        keep(make_trick(cls, {"a": value}), {"a": value}, "mine")
    assert "trick 'mine': its parameter" in str(refused.value)


RECIPE = {
    "lr": [1, 1.0],
    "momentum": [0, 0.0, -0.0],
    "weight_decay": [0, 0.0, -0.0],
    "flip": [0, 1, 1.0],
    "schedule": [{"gamma": 1}, {"gamma": 1.0}, {"gamma": 1.0, "milestones": [0.5]}],
    "mean": [[0, -0.0, 1], [0.0, 0.0, 1.0]],
    "crop": [{"scale": [1, 1], "ratio": [1, 2]}, {"ratio": [1.0, 2.0], "scale": [1.0, 1.0]}],
}


def trial(recipe: Recipe) -> Trial:
    data = DatasetRef(name="d", fingerprint="f", decoder="1", num_classes=10)
    return Trial(recipe=recipe, dataset=data, tricks=(), numerics=Numerics(), seed=0)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_equal_keys_are_equal_recipes(data: st.DataObject) -> None:
    drawn = st.fixed_dictionaries({n: st.sampled_from(v) for n, v in RECIPE.items()})
    one, other = (trial(Recipe(model="resnet8", **data.draw(drawn))) for _ in range(2))
    again = Trial.model_validate_json(one.model_dump_json())
    assert repr(again) == repr(one)
    assert again.key == one.key
    assert (one.key == other.key) == (repr(one.recipe) == repr(other.recipe))


def test_alike_tells_apart_what_prints_alike_too() -> None:
    assert not alike(SecretStr("a"), SecretStr("b"))
    assert not alike({"a": 1, "b": 2}, {"b": 2, "a": 1})
    assert not alike((1,), (1.0,))
    assert not alike({1}, {1.0})
    assert not alike(True, 1)
    assert alike({"a", "b", "c"}, {"c", "b", "a"})
    assert alike(Inner(), Inner(y=1))
    assert not alike(Inner(), Inner(y=1.0))


@pytest.mark.parametrize(
    ("annotation", "default", "trained"),
    [
        (float, 0, "0.0"),
        (Point, Point(1), "Point(a=1, b=1.0)"),  # its own default is the integer
        (tuple[Point, ...], (Point(1),), "(Point(a=1, b=1.0),)"),
        (Inner, Inner.model_construct(x=1), "Inner(x=1.0, y=1)"),
    ],
)
def test_a_default_of_the_nearest_kind_stays_allowed(
    annotation: Any, default: Any, trained: str
) -> None:
    cls = create_model("Mine", __base__=Trick, a=(annotation, default))
    assert repr(keep(cls(), {}, "mine").trick) == f"Mine(a={trained})"
