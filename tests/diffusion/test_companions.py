"""What must change along with an attribute: read off rows of data."""

from __future__ import annotations

import numpy as np

from gaussmix.diffusion.conditions import exclusive_groups, settle

# Black, Red, Bald: exactly one of them. Smiling: as it likes. Rare: three rows, never with Red.
RNG = np.random.default_rng(0)
HAIR = np.eye(3, dtype=np.uint8)[np.repeat([0, 1, 2], [150, 100, 50])]
ROWS = np.column_stack([HAIR, RNG.integers(0, 2, 300), np.arange(300) < 3]).astype(np.uint8)


def test_what_never_meets_by_more_than_chance_is_a_group():
    groups = exclusive_groups(ROWS)
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
        settled = settle(ROWS, [1, 1, 0, smile, 1], [1])
        assert settled.attributes.tolist() == [0, 1, 0, smile, 1]
        assert settled.unseen == []


def test_something_takes_the_place_of_what_is_switched_off():
    assert settle(ROWS, [0, 0, 0, 1, 0], [1]).attributes.tolist() == [1, 0, 0, 1, 0]  # black hair is the commonest
    assert settle(ROWS, [0, 0, 0, 1, 0], [0]).attributes.tolist() == [0, 1, 0, 1, 0]


def test_what_the_data_show_stays_as_it_is():
    assert settle(ROWS, [0, 0, 1, 0, 0], [3]).attributes.tolist() == [0, 0, 1, 0, 0]


def test_what_was_named_keeps_its_value_even_if_no_row_has_it():
    settled = settle(ROWS, [1, 0, 1, 1, 0], [0, 2, 3])
    assert settled.attributes.tolist() == [1, 0, 1, 1, 0]
    assert settled.unseen == [0, 2]


def test_without_rows_nothing_is_settled():
    settled = settle(np.zeros((0, 5), np.uint8), [1, 1, 1, 0, 0], [0])
    assert settled.attributes.tolist() == [1, 1, 1, 0, 0]
    assert settled.unseen == []
