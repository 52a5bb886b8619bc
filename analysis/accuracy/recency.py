"""Where one of two language models is better: at rare words that were read a short time ago, or elsewhere."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.errors import AnalysisError
from analysis.statistics import Interval, bootstrap_interval, mean_interval

RARE = 10
"""Occurrences in the text up to which a word is rare."""

SHORT, MEDIUM = 70, 500
"""Words since the last occurrence up to which it was a short, or not a long time ago."""

STRATA = (
    f"rare, gap to {SHORT}",
    f"rare, gap {SHORT + 1} to {MEDIUM}",
    "rare, new or further",
    "frequent",
)
ALL = "all"


@dataclass(frozen=True)
class RecencyGain:
    """Differences of losses, second minus first model, by stratum.

    Attributes
    ----------
    labels
        Of the two models.
    seeds
        A row for each seed and stratum: words ``n``, mean losses ``loss_a`` and ``loss_b`` in nats, their
        ``difference`` b − a with its 95 % interval over articles, ``low`` and ``high``.
    strata
        A row for each stratum: mean ``difference`` over seeds with its 95 % t interval, and the number of seeds.
    """

    labels: tuple[str, str]
    seeds: pd.DataFrame
    strata: pd.DataFrame

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return both tables."""
        return {"recency_by_seed": self.seeds, "recency": self.strata}


def strata_of(words: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the stratum of each word of a text, an index of `STRATA`.

    A word is rare if the text has it at most `RARE` times; its gap is the number of words since its last occurrence.

    Parameters
    ----------
    words
        Ids, (word,).

    Examples
    --------
    >>> strata_of(np.array([4, 7, 4])).tolist()
    [2, 2, 0]
    """
    order = np.argsort(words, kind="stable")
    again = np.diff(words[order], prepend=-1) == 0
    # A new word is further than any, however short the text.
    gap = np.full(len(words), MEDIUM + 1)
    gap[order[again]] = np.diff(order, prepend=0)[again]
    often = np.bincount(words)[words] > RARE
    return np.where(often, 3, np.digitize(gap, (SHORT, MEDIUM), right=True))


def compare_by_recency(
    words: NDArray[np.integer],
    articles: NDArray[np.integer],
    places: NDArray[np.integer],
    losses: tuple[NDArray[np.float64], NDArray[np.float64]],
    labels: tuple[str, str],
    seeds: tuple[int, ...],
) -> RecencyGain:
    """Compare what two models lost on the same words, seed by seed and stratum by stratum.

    Intervals of one seed are by bootstrap over articles (BCa): words of an article are no independent values.

    Parameters
    ----------
    words, articles
        The whole text: ids, and the article of each word, (word,).
    places
        Which words were predicted, (prediction,).
    losses
        Of both models in nats, (seed, prediction).
    labels, seeds
        What the models are called, and their seeds.

    Raises
    ------
    AnalysisError
        If the losses are not one for each seed and place.
    """
    expected = (len(seeds), len(places))
    if any(loss.shape != expected for loss in losses) or not len(places):
        raise AnalysisError(f"expected losses of the shape {expected}; got {[loss.shape for loss in losses]}")
    stratum, article = strata_of(words)[places], articles[places]
    chosen = {ALL: np.ones(len(places), bool)} | {name: stratum == i for i, name in enumerate(STRATA)}
    rows = []
    for name, there in chosen.items():
        for seed, a, b in zip(seeds, *(loss[:, there] for loss in losses), strict=True):
            apart = _over_articles(b - a, article[there])
            means = {"n": len(a), "loss_a": _mean(a), "loss_b": _mean(b)}
            interval = {"difference": apart.estimate, "low": apart.low, "high": apart.high}
            rows.append({"stratum": name, "seed": seed, **means, **interval})
    table = pd.DataFrame(rows)
    summary = []
    for name in chosen:
        of = mean_interval(table.loc[table["stratum"] == name, "difference"])
        summary.append(
            {"stratum": name, "difference": of.estimate, "low": of.low, "high": of.high, "seeds": of.n}
        )
    return RecencyGain(labels, table, pd.DataFrame(summary))


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _over_articles(difference: NDArray[np.float64], article: NDArray[np.integer]) -> Interval:
    """Return the mean over words with its interval over articles, each with all of its words."""
    if not len(difference):
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    _, number = np.unique(article, return_inverse=True)
    sums, counts = np.bincount(number, difference), np.bincount(number)

    def ratio(drawn: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
        index = drawn.astype(np.int64)
        return np.asarray(sums[index].sum(axis=axis) / counts[index].sum(axis=axis))

    return bootstrap_interval(ratio, np.arange(len(counts)))
