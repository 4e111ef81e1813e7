"""From requests to attribute vectors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaussmix.diffusion.conditions import choose_attributes, find_attributes, pack_rows, unpack_rows

NAMES = ("Bald", "Long_Hair", "Sunglasses")
ROWS = np.array([[1, 0, 0], [1, 0, 1], [0, 1, 0], [0, 1, 1], [0, 0, 0]], np.uint8)


@given(st.lists(st.lists(st.integers(0, 1), min_size=11, max_size=11), min_size=1, max_size=5))
def test_rows_survive_packing(rows):
    assert unpack_rows(pack_rows(rows), 11).tolist() == rows


def test_names_are_found_whatever_their_case():
    assert find_attributes(["sunglasses", " long hair"], NAMES) == [2, 1]


def test_an_unknown_name_gets_the_nearest_and_the_list():
    with pytest.raises(ValueError, match=r"'Sunglases'; did you mean Sunglasses\? Known: Bald, Long_Hair, Sunglasses"):
        find_attributes(["Sunglases"], NAMES)
    with pytest.raises(ValueError, match=r"'qqqqqq'\. Known: Bald"):
        find_attributes(["qqqqqq"], NAMES)


def test_open_attributes_follow_the_rows_that_agree():
    rng = np.random.default_rng(0)
    chosen = choose_attributes(ROWS, [0], [], 200, rng)
    assert {tuple(row) for row in chosen} == {(1, 0, 0), (1, 0, 1)}
    assert {tuple(row) for row in choose_attributes(ROWS, [], [0, 2], 200, rng)} == {(0, 1, 0), (0, 0, 0)}


def test_a_combination_that_never_occurs_is_made_from_the_nearest_rows():
    chosen = choose_attributes(ROWS, [0, 1], [2], 50, np.random.default_rng(0))
    assert {tuple(row) for row in chosen} == {(1, 1, 0)}


def test_fewer_pictures_are_the_first_of_more():
    few, many = (choose_attributes(ROWS, [], [], n, np.random.default_rng(3)) for n in (4, 50))
    assert np.array_equal(few, many[:4])


def test_contradiction_is_refused():
    with pytest.raises(ValueError, match="at once"):
        choose_attributes(ROWS, [0], [0], 1, np.random.default_rng(0))
