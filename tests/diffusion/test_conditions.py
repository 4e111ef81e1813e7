"""From requests to attribute vectors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaussmix.diffusion.conditions import (
    attribute_row,
    choose_attributes,
    find_attributes,
    pack_rows,
    read_components,
    unpack_rows,
)
from gaussmix.latents.attributes import AttributeLatents

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


# -- components


LATENTS = AttributeLatents(3, base_token=True)


def test_components_are_read():
    assert read_components("", NAMES, LATENTS) == [{}]
    assert read_components(" bald=2, long hair = 0", NAMES, LATENTS) == [{"Bald": 2, "Long_Hair": 0}]
    every = [{"Sunglasses": 1, "Bald": c} for c in range(3)]
    assert read_components("Bald=all,Sunglasses=1", NAMES, LATENTS) == every


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Bald", "'Bald' is no component; write an attribute and a number, such as"),
        ("Bold=1", "did you mean Bald"),
        ("Bald=3", "the component of Bald is '3'; choose 0, 1, 2 or all"),
        ("Bald=-1", "choose 0, 1, 2"),
        ("Bald=1.0", "choose 0, 1, 2"),
        ("Bald=1,bald=2", "there are two components of Bald"),
        ("Bald=all,Sunglasses=all", "all components of Bald and of Sunglasses; choose one"),
    ],
)
def test_wrong_components_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        read_components(text, NAMES, LATENTS)


def test_kinds_that_never_occur_are_left_out():
    shares = [[0.5, 0, 0.5], [0.25, 0.25, 0.5], [1, 0, 0], [0.5, 0.5, 0]]
    latents = AttributeLatents.from_config({**LATENTS.to_config(), "shares": shares})
    assert read_components("Bald=all", NAMES, latents) == [{"Bald": 0}, {"Bald": 2}]
    with pytest.raises(ValueError, match="Bald is '1'; choose 0, 2 or all"):
        read_components("Bald=1", NAMES, latents)


def test_a_row_of_what_is_wanted():
    assert attribute_row(["long hair"], NAMES).tolist() == [0, 1, 0]
