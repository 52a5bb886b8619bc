"""Parity, modular addition and the word problem: targets by hand, groups that are groups, words of all lengths."""

import numpy as np
import pytest

from emt.errors import UserError
from emt.tasks.state_tracking import (
    ModularAddition,
    Parity,
    WordProblem,
    permutations,
    products,
)

SEEDS, SIZE = (3, 1003), 6


def batch_of(task, split="train", step=2):
    return task.batch(SEEDS, split, step, task.shape(SEEDS[0], split, step, 1), SIZE)


def test_parity_is_the_number_of_ones_so_far_modulo_two():
    batch = batch_of(Parity(steps=17))
    np.testing.assert_array_equal(batch.targets, batch.inputs.cumsum(axis=2) % 2)
    assert batch.scored.all()
    assert set(np.unique(batch.inputs)) == {0, 1}


def test_modular_addition_is_the_running_sum():
    batch = batch_of(ModularAddition(modulus=5, steps=17))
    np.testing.assert_array_equal(batch.targets, batch.inputs.cumsum(axis=2) % 5)
    assert ModularAddition(modulus=5).chance == 1 / 5


@pytest.mark.parametrize("n", [2, 3, 4])
def test_the_products_of_permutations_are_those_of_their_matrices(n):
    group, table = permutations(n), products(permutations(n))
    matrices = np.eye(n, dtype=int)[group]
    # Row i of a permutation's matrix is e_{p(i)}, so that the matrix of p ∘ g is G P.
    for p, g in np.ndindex(table.shape):
        np.testing.assert_array_equal(matrices[table[p, g]], matrices[g] @ matrices[p])
    assert all(sorted(row) == list(range(len(group))) for row in (*table, *table.T))
    commutative = (table == table.T).all()
    assert commutative == (n == 2)


@pytest.mark.parametrize(
    ("n", "elements", "tokens"), [(3, "all", 6), (3, "swaps", 4), (5, "swaps", 11), (5, "all", 120)]
)
def test_a_word_problem_multiplies_on_the_right(n, elements, tokens):
    task = WordProblem(symmetric_group=n, elements=elements, steps=9)
    assert (task.input_channels, len(set(task.tokens))) == (tokens, tokens)
    batch, group = batch_of(task), permutations(n)
    assert task.output_channels == len(group)
    for word, states in zip(batch.inputs[1], batch.targets[1], strict=True):
        product = np.arange(n)
        for token, state in zip(word, states, strict=True):
            product = product[np.array([int(c) - 1 for c in task.tokens[token]])]
            np.testing.assert_array_equal(group[state], product)


def test_only_the_last_answer_of_words_of_all_lengths_is_scored():
    task = Parity(steps=7, scored="last", shortest=3)
    batch = task.batch([1], "train", 0, 7, 500)
    lengths = (batch.inputs[0] >= 0).sum(axis=1)
    assert set(lengths) == set(range(3, 8))
    assert (batch.scored.sum(axis=2) == 1).all()
    for word, length, answer, scored in zip(
        batch.inputs[0], lengths, batch.targets[0], batch.scored[0], strict=True
    ):
        assert scored[length - 1]
        assert answer[length - 1] == word[:length].sum() % 2
        assert (word[length:] == -1).all()
        assert (np.delete(answer, length - 1) == -1).all()


def test_held_out_words_have_the_length_that_is_asked_for():
    batch = Parity(steps=7, scored="last", shortest=3).test_batch(1, 240, 1, SIZE)
    assert batch.scored.shape == (1, SIZE, 240)
    assert batch.scored[..., -1].all()
    assert (batch.inputs >= 0).all()


def test_no_word_is_shorter_than_a_token_or_longer_than_a_row():
    for shortest in (0, 8):
        with pytest.raises(UserError, match=rf"must be from 1 to 7, --steps; got {shortest}"):
            Parity(steps=7, shortest=shortest)


def test_words_end_in_every_state_equally_often():
    task = WordProblem(symmetric_group=3, elements="all", steps=20)
    ends = task.batch([1], "test", 0, 20, 6000).targets[0, :, -1]
    np.testing.assert_allclose(np.bincount(ends) / 6000, task.chance, atol=0.02)
