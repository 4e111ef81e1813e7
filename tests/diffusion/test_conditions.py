"""From requests to attribute vectors, and what must change along with an attribute: both read off rows of data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaussmix.diffusion.conditions import (
    attribute_row,
    choose_attributes,
    exclusion,
    exclusive_groups,
    find_attributes,
    nearest_possible,
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
    assert unpack_rows([], 11).shape == (0, 11)


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


# -- what must change along

# Black, Red, Bald: exactly one of them. Smiling: as it likes. Rare: three rows, never with Red.
RNG = np.random.default_rng(0)
_COLOURS = np.eye(3, dtype=np.uint8)[np.repeat([0, 1, 2], [150, 100, 50])]
HAIR_ROWS = np.column_stack([_COLOURS, RNG.integers(0, 2, 300), np.arange(300) < 3]).astype(np.uint8)


def test_what_never_meets_by_more_than_chance_is_a_group():
    groups = exclusive_groups(HAIR_ROWS)
    assert groups[0] == groups[1] == groups[2]
    assert len({groups[0], groups[3], groups[4]}) == 3  # three rows are too few to tell


def test_groups_match_a_loop_over_pairs():
    rows = (np.random.default_rng(1).random((400, 8)) < 0.3).astype(np.uint8)
    rows[:, 5] &= 1 - rows[:, 2]
    rows[:, 7] &= 1 - rows[:, 5]
    groups = exclusive_groups(rows)
    linked = [(i, j) for i in range(8) for j in range(i) if not (rows[:, i] & rows[:, j]).any()]
    assert linked == [(5, 2), (7, 5)]
    assert groups[2] == groups[5] == groups[7]
    assert len(set(groups)) == 6


def test_the_named_attribute_drives_out_what_excludes_it_and_nothing_else():
    for smile in (0, 1):
        found = nearest_possible(HAIR_ROWS, [1, 1, 0, smile, 1], [1])
        assert found.attributes.tolist() == [0, 1, 0, smile, 1]
        assert found.unseen == []


def test_something_takes_the_place_of_what_is_switched_off():
    assert nearest_possible(HAIR_ROWS, [0, 0, 0, 1, 0], [1]).attributes.tolist() == [
        1,
        0,
        0,
        1,
        0,
    ]  # black hair is the commonest
    assert nearest_possible(HAIR_ROWS, [0, 0, 0, 1, 0], [0]).attributes.tolist() == [0, 1, 0, 1, 0]


def test_what_the_data_show_stays_as_it_is():
    assert nearest_possible(HAIR_ROWS, [0, 0, 1, 0, 0], [3]).attributes.tolist() == [0, 0, 1, 0, 0]


def test_what_was_named_keeps_its_value_even_if_no_row_has_it():
    found = nearest_possible(HAIR_ROWS, [1, 0, 1, 1, 0], [0, 2, 3])
    assert found.attributes.tolist() == [1, 0, 1, 1, 0]
    assert found.unseen == [0, 2]


def test_without_rows_nothing_is_found():
    found = nearest_possible(np.zeros((0, 5), np.uint8), [1, 1, 1, 0, 0], [0])
    assert found.attributes.tolist() == [1, 1, 1, 0, 0]
    assert found.unseen == []


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


NAMED = ["Bald", "Long_Hair", "Smiling", "Hat"]


def half_bald(count: int = 400) -> np.ndarray:
    """Nobody is bald with long hair, and nobody without a hat is neither."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, count)
    return np.stack([kind == 0, kind == 1, rng.random(count) < 0.5, kind == 2], 1).astype(np.uint8)


def test_what_excludes_each_other_is_said_with_the_counts():
    rows = half_bald()
    bald, long_ = rows[:, 0].sum(), rows[:, 1].sum()
    assert exclusion(rows, NAMED, ["bald", "long hair", "Smiling"], []) == (
        f"of 400 rows of training pictures none has Bald and Long Hair together (Bald {bald}, Long Hair {long_}; by "
        f"chance {bald * long_ / 400:.0f} would)"
    )
    said = exclusion(rows, NAMED, [], ["Bald", "Long_Hair", "Hat"])
    assert said is not None
    assert "none has no Bald and no Long Hair and no Hat together" in said


def test_what_the_data_show_or_are_too_few_for_is_not_excluded():
    rows = half_bald()
    for present, absent in ([["Bald", "Smiling"], []], [["Bald"], ["Long_Hair"]], [[], []], [["Bald"], ["Bald"]]):
        assert exclusion(rows, NAMED, present, absent) is None
    assert exclusion(rows[:8], NAMED, ["Bald", "Long_Hair"], []) is None
    assert exclusion(np.zeros((0, 4)), NAMED, ["Bald", "Long_Hair"], []) is None
