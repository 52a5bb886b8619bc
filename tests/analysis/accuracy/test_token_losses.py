"""Two models on the same text."""

import numpy as np
import pytest

from analysis.accuracy.token_losses import Losses, compare_losses
from analysis.errors import AnalysisError

WORDS = ("mary", "went", "home", ".", "where", "?", "home")
STORY = np.array([4, 4, 4, 4, 9, 9, 9])


def losses(label, loss, words=WORDS, story=STORY):
    loss = np.asarray(loss, dtype=float)
    loss.setflags(write=False)
    return Losses(label, words, story, loss)


def test_a_model_equals_itself_and_a_known_change_is_found():
    a = np.arange(7) / 10
    same = compare_losses(losses("a", a), losses("b", a))
    assert (same.tokens["difference"] == 0).all()
    assert same.difference["mean"] == 0
    worse = compare_losses(losses("a", a), losses("b", a + 0.25))
    np.testing.assert_allclose(worse.tokens["difference"], 0.25)
    np.testing.assert_allclose(worse.difference["mean"], 0.25)
    np.testing.assert_allclose(worse.models.loc["b", "loss"] - worse.models.loc["a", "loss"], 0.25)
    np.testing.assert_allclose(worse.models["perplexity"], np.exp(worse.models["loss"]))


def test_each_story_counts_once():
    change = np.where(STORY == 4, 1.0, 3.0)
    result = compare_losses(losses("a", np.zeros(7)), losses("b", change))
    assert result.difference["mean"] == 2.0
    assert result.difference["stories"] == 2
    assert result.difference["low"] < 2.0 < result.difference["high"]
    assert result.models.loc["b", "loss"] == pytest.approx((4 * 1 + 3 * 3) / 7)


@pytest.mark.parametrize(
    ("words", "story"),
    [((*WORDS[:-1], "yard"), STORY), (WORDS, STORY[::-1]), (WORDS[:-1], STORY[:-1]), ((), STORY[:0])],
)
def test_another_text_is_refused(words, story):
    with pytest.raises(AnalysisError, match="expected the same text for both models; got 7 and"):
        compare_losses(losses("a", np.zeros(7)), losses("b", np.zeros(len(words)), words, story))
