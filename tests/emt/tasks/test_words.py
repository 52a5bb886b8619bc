"""Texts read word by word: small ones written here, and WikiText-2 where EMT_WIKITEXT2 names its folder."""

import os
from pathlib import Path

import numpy as np
import pytest

from emt.config import TrainingConfig
from emt.errors import UserError
from emt.models import MODELS
from emt.options import load
from emt.tasks.word_files import read_texts
from emt.tasks.words import Passes, Words
from emt.training.stack import Stack


def write(folder, train, valid="b a\n", test="c\n", form="{}.txt"):
    for name, text in {"train": train, "valid": valid, "test": test}.items():
        (folder / form.format(name)).write_text(text)
    return folder


@pytest.mark.parametrize("form", ["{}.txt", "ptb.{}.txt", "wiki.{}.tokens"])
def test_words_have_ids_in_the_order_of_their_first_occurrence(tmp_path, form):
    texts = read_texts(write(tmp_path, " b A \n\n b c\n", "a b\n", "A d", form))
    assert texts.vocabulary == ("b", "A", "<eos>", "c", "a", "d")
    assert texts.splits["train"].tolist() == [0, 1, 2, 2, 0, 3, 2], "an empty line has an end too"
    assert texts.splits["validation"].tolist() == [4, 0, 2]
    assert texts.splits["test"].tolist() == [1, 5, 2], "a last line needs no line break"


def test_a_vocabulary_is_cut_to_the_most_frequent_words_of_training(tmp_path):
    texts = read_texts(write(tmp_path, "c b a b\na b d\n", "d d d d d a\n", "e"), 4)
    assert texts.vocabulary == ("<unk>", "b", "a", "<eos>")
    assert texts.splits["train"].tolist() == [0, 1, 2, 1, 3, 2, 1, 0, 3]
    assert texts.splits["validation"].tolist() == [0, 0, 0, 0, 0, 2, 3]
    assert read_texts(tmp_path, 5).vocabulary == ("c", "b", "a", "<eos>", "<unk>"), "of equals the earlier"
    assert len(read_texts(tmp_path, 6).vocabulary) == 6, "nothing to cut"


def test_articles_start_at_titles_between_empty_lines(tmp_path):
    text = "x\n\n = A = \n\n = = s = = \n\n1 = 2\n = b = \ny\n\n = C d = \n\nz\n"
    articles = read_texts(write(tmp_path, text)).articles["train"]
    ends = np.flatnonzero(np.diff(articles)) + 1
    # Words and line ends before the second title, which "= b =" within a paragraph is not.
    assert ends.tolist() == [2 + 1 + 4 + 1 + 6 + 1 + 4 + 4 + 2 + 1]
    blocks = read_texts(write(tmp_path / "..", "a " * 2500)).articles["train"]
    assert np.bincount(blocks).tolist() == [1000, 1000, 501]


def test_a_folder_without_texts_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"^data: .*expected a folder with wiki.train.tokens, .*; found none"):
        read_texts(tmp_path / "nowhere")
    write(tmp_path, "a b\n", form="ptb.{}.txt")
    (tmp_path / "ptb.test.txt").unlink()
    with pytest.raises(UserError, match=r"^data: .*expected ptb.train.txt, .*; no ptb.test.txt"):
        read_texts(tmp_path)
    (tmp_path / "ptb.test.txt").write_text("\n")
    with pytest.raises(UserError, match=r"ptb.test.txt: expected a text of at least 2 words; got 1"):
        read_texts(tmp_path)
    (tmp_path / "ptb.test.txt").write_bytes(b"\xff\xfe a b")
    with pytest.raises(UserError, match=r"ptb.test.txt: not a UTF-8 text"):
        read_texts(tmp_path)
    with pytest.raises(UserError, match=r"^data: expected the folder of the three texts; got none"):
        Words(data="")


def numbers(folder, **options):
    """Return a task on the text 0 1 2 … 40, whose words are their places, and a shorter one."""
    text = " ".join(map(str, range(41)))
    return Words(data=str(write(folder, text, " ".join(map(str, range(13))), "0 1 2 3 4")), **options)


def test_rows_are_pieces_of_the_text_one_after_the_other(tmp_path):
    task = numbers(tmp_path, segment=4, vary_segments=False, validation_rows=2)
    batches = [task.batch([7, 8], "train", step, 4, 4) for step in range(3)]
    # 42 words in four rows of ten; a pass ends with the row, and another one starts.
    assert [b.inputs.shape for b in batches] == [(2, 4, 4), (2, 4, 4), (2, 4, 4)]
    assert batches[0].inputs[1, :, 0].tolist() == [0, 10, 20, 30]
    assert [b.fresh for b in batches] == [True, False, True]
    for batch in batches:
        np.testing.assert_array_equal(batch.targets, batch.inputs + 1)
    assert [task.epoch_end(n, 4) for n in (0, 1, 2)] == [0, 2, 4], (
        "the one target left over is not trained on"
    )
    held = [task.batch([7], "validation", step, 4, 4) for step in range(3)]
    assert [b.inputs.shape for b in held] == [(1, 2, 4), (1, 2, 2), (1, 0, 0)]
    assert sum(b.scored.sum() for b in held) == 2 * (14 // 2 - 1), "one target less than words in each row"


def test_training_segments_cover_the_text_whatever_their_lengths(tmp_path):
    task = numbers(tmp_path, segment=4)
    end = task.epoch_end(1, 2)
    batches = [task.batch([7], "train", step, 4, 2) for step in range(end)]
    seen = np.concatenate([b.inputs[0, 0] for b in batches])
    assert seen.tolist() == list(range(len(seen)))
    assert len(seen) in (19, 20), "of 21 words the last is a target only, and one target may be left over"
    lengths = [b.steps for b in batches]
    assert all(b.pace * 4 == n for b, n in zip(batches[:-1], lengths, strict=False))
    assert batches[-1].pace * 4 >= lengths[-1], "the rate follows the length drawn, not what was left of it"
    with pytest.raises(
        UserError, match=r"^batch_size: expected at most 14 rows, the text has 42 words; got 15"
    ):
        task.batch([7], "train", 0, 4, 15)


def test_segments_have_the_published_lengths_and_are_the_same_in_any_order():
    passes = Passes(1_000_000, 70, varies=True)
    lengths = passes._draw(0)
    error = lengths.std() / len(lengths) ** 0.5
    # 0.95 · 69.5 + 0.05 · 34.5, drawn lengths are rounded down, less what the bound of 80 takes.
    assert abs(lengths.mean() - 67.73) < 4 * error < 0.1
    assert (lengths.min(), lengths.max()) == (lengths.clip(5, 80).min(), 80)
    assert 0.04 < (lengths < 52).mean() < 0.06
    short = Passes(500, 70, varies=True)
    forwards = [short.segment(step) for step in range(40)]
    assert forwards == [Passes(500, 70, varies=True).segment(step) for step in range(40)]
    assert forwards[::-1] == [short.segment(step) for step in reversed(range(40))]


PUBLISHED = os.environ.get("EMT_WIKITEXT2")
"""Folder of the unpacked WikiText-2; without it the test of its counts is skipped."""


@pytest.mark.slow
@pytest.mark.skipif(not PUBLISHED, reason="EMT_WIKITEXT2 names no folder with WikiText-2")
def test_wikitext_2_has_the_published_counts():
    texts = read_texts(Path(PUBLISHED))
    assert len(texts.vocabulary) == 33_278
    assert [len(ids) for ids in texts.splits.values()] == [2_088_628, 217_646, 245_569]
    assert [articles.max() + 1 for articles in texts.articles.values()] == [600, 60, 60]


@pytest.mark.parametrize("name", ["fwm", "stacked_lstm", "transformer_xl", "awd_lstm", "awd_fwm"])
def test_every_model_of_words_learns_a_text(name, mini_texts):
    task = Words(data=str(mini_texts), segment=12, vary_segments=False)
    options = {
        "transformer_xl": {"hidden_dim": 8, "heads": 2, "layers": 1, "memory_length": 10},
        "fwm": {"memory_dim": 3},
    }
    sizes = {"hidden_dim": 8, "embedding_dim": 8, **options.get(name, {})}
    model = load(MODELS, name, "model_type")((3, 1003), task.input_channels, task.output_channels, **sizes)
    settings = {"num_models": 2, "batch_size": 9, "learning_rate": 0.02, "curriculum_horizons": (1,)}
    stack = Stack(TrainingConfig(**settings), task, model, (1, 2))
    before = stack.measure("validation", 30, np.arange(2))[0]
    for _ in range(25):
        report = stack.gradients()
        stack.optimizer.step()
        stack.advance(report)
    after = stack.measure("validation", 30, np.arange(2))[0]
    assert (after < before - 0.1).all(), (before, after)
