"""The published generator, row for row, and its files."""

import hashlib
import io
import random

import numpy as np
import pytest

from emt.errors import UserError
from emt.tasks.retrieval_data import (
    VOCABULARY,
    asked_items,
    count_shared,
    labels,
    make_data_set,
    read_npz,
    reference_rows,
    to_npz,
)

COUNTS = {"train": 13, "validation": 5, "test": 7}


@pytest.fixture
def data():
    return make_data_set(3, COUNTS, seed=2)


def text(row):
    return "".join(VOCABULARY[i] for i in row)


def test_the_published_test_split_is_reproduced():
    tokens = reference_rows(4, 20_000, seed=2_000_000)
    x, y = tokens.astype(np.int64), labels(tokens)
    assert (
        hashlib.sha256(x.tobytes()).hexdigest()
        == "6b884d1f3c5c6a94e8f931d5c1310d175679e4339f4e4b53ed80ca038468963b"
    )
    assert (
        hashlib.sha256(y.tobytes()).hexdigest()
        == "f8d14560cf25c81b910e2783197269094241561fcdbe9662b445d31cae9fd80e"
    )


def test_a_row_is_drawn_letters_first_then_digits_then_the_query():
    draw = random.Random(5)
    letters = draw.sample("abcdefghijklmnopqrstuvwxyz", 2)
    digits = [draw.randrange(10) for _ in range(2)]
    query = draw.randrange(2)
    row = reference_rows(2, 1, seed=5)
    assert text(row[0]) == f"{letters[0]}{digits[0]}{letters[1]}{digits[1]}??{letters[query]}"
    assert labels(row)[0] == digits[query]
    assert asked_items(row)[0] == query


def test_each_chunk_has_the_next_seed():
    whole = reference_rows(3, 11, seed=40, chunk=4)
    for i in range(3):
        np.testing.assert_array_equal(
            whole[4 * i : 4 * i + 4], reference_rows(3, min(4, 11 - 4 * i), seed=40 + i)
        )
    assert count_shared(whole, reference_rows(3, 11, seed=41, chunk=4)) == 7, (
        "the published seeds are offsets"
    )


def test_the_splits_start_a_million_seeds_apart(data):
    for split, offset in (("train", 0), ("validation", 1_000_000), ("test", 2_000_000)):
        np.testing.assert_array_equal(data.rows[split], reference_rows(3, COUNTS[split], 2 + offset))


def test_rows_that_two_splits_share_are_counted(data):
    test, train = data.rows["test"], data.rows["train"]
    assert count_shared(test, train) == 0
    assert count_shared(np.concatenate([test, test[:1]]), np.concatenate([train, test[:2]])) == 3
    few = make_data_set(1, {"train": 20_000, "validation": 3, "test": 50}, seed=0)
    assert count_shared(few.rows["test"], few.rows["train"]) == 50, "260 different rows of one pair"


def test_a_file_survives_reading_and_writing(data, tmp_path):
    path = tmp_path / "ar.npz"
    path.write_bytes(to_npz(data))
    again = read_npz(path)
    assert again.pairs == 3
    for split, rows in data.rows.items():
        np.testing.assert_array_equal(again.rows[split], rows)
    with np.load(path) as file:
        assert {k: (v.shape, v.dtype) for k, v in file.items()} == {
            "x_train": ((13, 9), np.int64),
            "y_train": ((13,), np.int64),
            "x_val": ((5, 9), np.int64),
            "y_val": ((5,), np.int64),
            "x_test": ((7, 9), np.int64),
            "y_test": ((7,), np.int64),
            "K": ((), np.int64),
            "T": ((), np.int64),
            "vocab_size": ((), np.int64),
        }
        assert (file["K"], file["T"], file["vocab_size"]) == (3, 9, 37)


def test_the_generator_is_independent_of_global_state(data):
    random.seed(1)
    state = random.getstate()
    np.testing.assert_array_equal(make_data_set(3, COUNTS, seed=2).rows["test"], data.rows["test"])
    assert random.getstate() == state


def rewritten(data, **changes):
    with np.load(io.BytesIO(to_npz(data))) as file:
        arrays = dict(file) | changes
    buffer = io.BytesIO()
    np.savez(buffer, **{k: v for k, v in arrays.items() if v is not None})
    return buffer.getvalue()


def test_files_that_are_none_are_refused_in_one_line(data, tmp_path):
    whole, x = to_npz(data), data.rows["validation"].astype(int)
    y = labels(data.rows["validation"])
    digit_first = x.copy()
    digit_first[2, 0] = 30
    cases = {
        "expected a whole npz file": whole[:-40],
        "lacks y_val": rewritten(data, y_val=None),
        r"expected x_val \(row, 9\) and y_val \(row,\) for K = 3; got \(5, 8\)": rewritten(
            data, x_val=x[:, 1:]
        ),
        "letters and digits in turn, two question marks, a letter; row 2": rewritten(data, x_val=digit_first),
        r"expected one integer in K; got int64 in the shape \(1,\)": rewritten(data, K=np.array([3])),
        "expected integers in y_test; got float64": rewritten(data, y_test=y / 2),
        "expected K from 1 to 26; got 27": rewritten(data, K=np.int64(27)),
        "y the digit of the letter asked for; row 0": rewritten(data, y_val=(y + 1) % 10),
    }
    path = tmp_path / "broken.npz"
    for message, content in cases.items():
        path.write_bytes(content)
        with pytest.raises(UserError, match=f"^data_npz: .*{message}"):
            read_npz(path)
    with pytest.raises(UserError, match="data_npz: no such file: "):
        read_npz(tmp_path / "none.npz")


def test_a_file_that_would_run_code_is_refused(tmp_path):
    path = tmp_path / "pickled.npz"
    np.savez(path, K=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UserError, match="expected a whole npz file"):
        read_npz(path)
