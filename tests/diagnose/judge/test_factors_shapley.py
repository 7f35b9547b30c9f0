"""Shapley values over grids of cells: closed forms, the laws that define them, and grids with holes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnose.judge.shapley import Coalition, Division, divide

ABC = ("a", "b", "c")
ALL = [frozenset(some) for size in range(4) for some in itertools.combinations(ABC, size)]
GAMES = st.lists(st.floats(-1, 1), min_size=8, max_size=8).map(lambda values: dict(zip(ALL, values, strict=True)))


def parts(division: Division | None, value: Mapping[Coalition, float]) -> dict[str, float]:
    assert division is not None
    return {name: sum(weight * value[cell] for cell, weight in cells.items()) for name, cells in division.weights.items()}


def whole(value: Callable[[Coalition], float]) -> dict[Coalition, float]:
    return {cell: value(cell) for cell in ALL}


def test_additive_effects_are_their_own_parts() -> None:
    effects = {"a": 0.3, "b": -0.1, "c": 0.05}

    found = parts(divide(ABC, ALL), whole(lambda cell: 0.2 + sum(effects[name] for name in cell)))

    assert found == pytest.approx(effects)


def test_a_pure_interaction_is_split_in_halves_between_the_two_that_make_it() -> None:
    found = parts(divide(ABC, ALL), whole(lambda cell: 0.4 if {"a", "b"} <= cell else 0.0))

    assert found == pytest.approx({"a": 0.2, "b": 0.2, "c": 0.0})


def test_the_values_of_a_known_game_come_out() -> None:
    """The gloves: one left glove (a) and two right ones (b, c) are worth 1 a pair; Shapley values 2/3, 1/6, 1/6."""
    found = parts(divide(ABC, ALL), whole(lambda cell: float("a" in cell and len(cell) > 1)))

    assert found == pytest.approx({"a": 2 / 3, "b": 1 / 6, "c": 1 / 6})


@given(GAMES)
def test_values_equal_the_mean_over_all_orders(value: dict[Coalition, float]) -> None:
    expected = dict.fromkeys(ABC, 0.0)
    for order in itertools.permutations(ABC):
        for place, name in enumerate(order):
            expected[name] += (value[frozenset(order[: place + 1])] - value[frozenset(order[:place])]) / 6

    division = divide(ABC, ALL)

    assert parts(division, value) == pytest.approx(expected, abs=1e-12)
    assert division is not None
    assert division.exact
    assert division.orders == 6


@given(GAMES, st.sets(st.sampled_from(ALL[1:-1])))
def test_the_parts_add_up_to_the_whole_difference_whatever_is_missing(value: dict[Coalition, float], missing: set[Coalition]) -> None:
    known = [cell for cell in ALL if cell not in missing]

    division = divide(ABC, known)

    assert sum(parts(division, value).values()) == pytest.approx(value[ALL[-1]] - value[ALL[0]], abs=1e-12)
    assert division is not None
    assert {cell for part in division.weights.values() for cell in part} <= set(known)
    assert sorted("+".join(division.weights).split("+")) == list(ABC)


@given(GAMES)
def test_two_factors_that_do_the_same_get_the_same(value: dict[Coalition, float]) -> None:
    swapped = {"a": "b", "b": "a", "c": "c"}
    alike = {cell: value[min(cell, frozenset(swapped[name] for name in cell), key=sorted)] for cell in ALL}

    found = parts(divide(ABC, ALL), alike)

    assert found["a"] == pytest.approx(found["b"], abs=1e-12)


@given(GAMES, st.sets(st.sampled_from(ALL[1:-1])))
def test_a_factor_that_changes_nothing_gets_nothing_where_its_step_is_known(value: dict[Coalition, float], missing: set[Coalition]) -> None:
    idle = {cell: value[cell - {"c"}] for cell in ALL}

    found = parts(divide(ABC, [cell for cell in ALL if cell not in missing]), idle)

    assert found.get("c", 0.0) == pytest.approx(0.0, abs=1e-12)


def test_with_three_of_four_cells_the_one_trained_path_is_taken() -> None:
    cells = {frozenset(): 0.8, frozenset({"b"}): 0.75, frozenset({"a", "b"}): 0.5}

    division = divide(("a", "b"), cells)

    assert parts(division, cells) == pytest.approx({"a": -0.25, "b": -0.05})
    assert division is not None
    assert (division.orders, division.possible, division.exact) == (1, 2, False)


def test_with_two_cells_only_the_joint_effect_is_given() -> None:
    cells = {frozenset(): 0.8, frozenset({"a", "b"}): 0.5}

    division = divide(("a", "b"), cells)

    assert parts(division, cells) == pytest.approx({"a+b": -0.3})
    assert division is not None
    assert division.orders == 0


def test_factors_are_joined_in_as_few_places_as_possible() -> None:
    cells = {frozenset(): 0.0, frozenset({"b"}): 1.0, frozenset(ABC): 4.0}

    assert parts(divide(ABC, cells), cells) == pytest.approx({"b": 1.0, "a+c": 3.0})


def test_joined_factors_are_averaged_over_their_known_orders() -> None:
    cells = {frozenset(): 0.0, frozenset({"b"}): 1.0, frozenset({"a", "c"}): 2.0, frozenset(ABC): 4.0}

    assert parts(divide(ABC, cells), cells) == pytest.approx({"b": 1.5, "a+c": 2.5})


@pytest.mark.parametrize("lacking", [ALL[0], ALL[-1]])
def test_without_the_start_or_the_end_there_is_no_division(lacking: Coalition) -> None:
    assert divide(ABC, [cell for cell in ALL if cell != lacking]) is None


def test_no_factor_or_too_many_are_refused() -> None:
    with pytest.raises(ValueError, match="one to ten names, got 0"):
        divide((), [frozenset()])
    with pytest.raises(ValueError, match="got 11"):
        divide([str(number) for number in range(11)], [frozenset()])


def test_ten_factors_are_divided_in_no_time() -> None:
    names = [str(number) for number in range(10)]
    known = [frozenset(some) for size in range(11) for some in itertools.combinations(names, size)]

    division = divide(names, known)

    assert division is not None
    assert division.orders == math.factorial(10)
    assert parts(division, {cell: len(cell) ** 2 for cell in known}) == pytest.approx(dict.fromkeys(names, 10.0))
