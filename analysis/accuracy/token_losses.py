"""Two models on the same text, token by token (Schlag et al. 2021, figure 6)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.errors import AnalysisError
from analysis.statistics import mean_interval


@dataclass(frozen=True)
class Losses:
    """What one model lost on each token that it had to predict.

    Attributes
    ----------
    label
        What figures and tables call the model.
    words
        What was to be predicted, (token,).
    story
        Number of the story that each token belongs to, (token,).
    loss
        Cross entropy in nats, (token,).

    Examples
    --------
    >>> losses = Losses("FWM", ("a", "b"), story=np.array([0, 0]), loss=np.log([2.0, 8.0]))
    >>> round(np.exp(losses.loss.mean()).item(), 6)  # the perplexity
    4.0
    """

    label: str
    words: tuple[str, ...]
    story: NDArray[np.int64]
    loss: NDArray[np.float64]


@dataclass(frozen=True)
class TokenLosses:
    """Losses of two models and their difference.

    Attributes
    ----------
    labels
        Of the two models.
    tokens
        A row for each token: ``word``, ``story``, ``loss_a``, ``loss_b`` in nats, ``difference`` b − a:
        positive where the first model is better.
    models
        A row for each model: tokens ``n``, mean ``loss``, ``perplexity``.
    difference
        Mean over stories of each story's mean difference, with its 95 % t interval: ``mean``, ``low``,
        ``high``, ``stories``.
    pieces
        What figures call the pieces of the text that count as stories.
    """

    labels: tuple[str, str]
    tokens: pd.DataFrame
    models: pd.DataFrame
    difference: dict[str, float]
    pieces: str = "stories"

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return the losses by token and by model."""
        return {"token_losses": self.tokens, "token_losses_by_model": self.models}

    def documents(self) -> dict[str, Any]:
        """Return the difference."""
        return {"token_loss_difference": {"models": self.labels, **self.difference}}


def compare_losses(a: Losses, b: Losses, *, pieces: str = "stories") -> TokenLosses:
    """Compare what two models lost on the same tokens; ``pieces`` is what stories are called.

    Raises
    ------
    AnalysisError
        If there are no tokens, or the two texts differ.

    Examples
    --------
    >>> words, story = ("a", "b", "a", "b"), np.array([0, 0, 1, 1])
    >>> fwm = Losses("FWM", words, story, np.array([0.1, 0.2, 0.1, 0.2]))
    >>> lstm = Losses("LSTM", words, story, np.array([0.4, 0.7, 0.2, 0.3]))
    >>> compared = compare_losses(fwm, lstm)
    >>> round(compared.difference["mean"], 6), compared.difference["stories"]
    (0.25, 2)
    >>> compared.tokens.groupby("word")["difference"].mean().round(2).to_dict()
    {'a': 0.2, 'b': 0.3}
    """
    if not a.words or a.words != b.words or not np.array_equal(a.story, b.story):
        raise AnalysisError(
            f"expected the same text for both models; got {len(a.words)} and {len(b.words)} tokens"
        )
    columns = {
        "word": a.words,
        "story": a.story,
        "loss_a": a.loss,
        "loss_b": b.loss,
        "difference": b.loss - a.loss,
    }
    tokens = pd.DataFrame(columns).rename_axis("token")
    by_story = mean_interval(tokens.groupby("story")["difference"].mean())
    means = [float(one.loss.mean()) for one in (a, b)]
    models = {"n": len(a.words), "loss": means, "perplexity": np.exp(means)}
    return TokenLosses(
        (a.label, b.label),
        tokens,
        pd.DataFrame(models, index=pd.Index([a.label, b.label], name="label")),
        {"mean": by_story.estimate, "low": by_story.low, "high": by_story.high, "stories": by_story.n},
        pieces,
    )
