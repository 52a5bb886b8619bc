"""Hidden states whose covariance, overlap and shape are known: a ring, a blob, a line, frames that share directions."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from emt.commands.known_systems.answers import Answer, analyse
from emt.commands.known_systems.recordings import plant_states, random_frame

BATCH, TIME, UNITS = 3, 8, 7


def equal_variances() -> Iterator[Answer]:
    """States whose covariance has three eigenvalues: 1, 1, 1 in one member, 4, 2, 2 in another, others zero.

    Of m equal eigenvalues participation ratio and effective rank are m. For 4, 2, 2 the shares are 1/2, 1/4,
    1/4: the participation ratio is 1 / (1/4 + 1/16 + 1/16) = 8 / 3, the entropy (1/2) ln 2 + (1/2) ln 4 = 1.5
    ln 2, the effective rank 2^1.5. Neither rotation nor shift of the states changes this.
    """
    rng = np.random.default_rng(4)
    hidden = [
        random_frame(BATCH * TIME, 3, rng, centred=True) * np.sqrt(variances) @ random_frame(UNITS, 3, rng).T
        + 5.0
        for variances in ([1.0, 1.0, 1.0], [4.0, 2.0, 2.0])
    ]
    members = analyse("dimensionality", plant_states(_as_states(hidden))).members
    for name, ratio, rank in (("model-1", 3.0, 3.0), ("model-2", 8 / 3, 2**1.5)):
        row = members.loc[name, "recorded"]
        yield Answer(
            "dimensionality", f"participation ratio, {name}", ratio, row["participation_ratio"], 1e-9
        )
        # The zero eigenvalues come out as rounding, 1e-16 of the largest, whose entropy is some 1e-14.
        yield Answer("dimensionality", f"effective rank, {name}", rank, row["effective_rank"], 1e-9)


def rotated_copy() -> Iterator[Answer]:
    """Four orthonormal directions of equal variance, a rotated, shifted and scaled copy, and a frame that shares two.

    A copy has distance 0 by every measure. With XᵀX = YᵀY = I / 4 in a suitable basis and XᵀY having two
    singular values 1/4, the cosines are (2 / 16) / (4 / 16) = 1/2 for CKA and 2 / 4 = 1/2 for Procrustes:
    both angles are π / 3. Without a shared direction XᵀY = 0 and they are π / 2.
    """
    rng = np.random.default_rng(5)
    frame = random_frame(BATCH * TIME, 10, rng, centred=True)
    parts = (frame[:, :4], 3.0 * frame[:, :4], frame[:, 2:6], frame[:, 6:10])
    hidden = [part @ random_frame(UNITS, 4, rng).T + rng.normal(size=UNITS) for part in parts]
    distances = analyse("similarity", {"known": plant_states(_as_states(hidden))}).distances
    for measure in ("cka", "procrustes"):
        angle = distances[measure][0]
        # Near 1 an arccosine doubles the digits that rounding takes: √(2 · 1e-16) = 1e-8.
        yield Answer("similarity", f"{measure} of a rotated copy", 0.0, angle[1], 1e-6)
        yield Answer("similarity", f"{measure}, two of four directions shared", np.pi / 3, angle[2], 1e-7)
        yield Answer("similarity", f"{measure}, no direction shared", np.pi / 2, angle[3], 1e-7)
    yield Answer("similarity", "rsa of a rotated copy", 0.0, distances["rsa"][0, 1], 1e-6)


def ring_and_line() -> Iterator[Answer]:
    """States on a regular polygon of 24 corners in a random plane, and states on a line.

    The loop of the polygon is born when neighbours join, at 2 sin(π / 24), and filled when an inscribed
    triangle is, at 2 sin(8π / 24) = √3 (Adamaszek & Adams 2017). It is longer than that of any normal cloud
    of the same covariance: p = 1 / (1 + 99). States on a line have no loop.
    """
    rng = np.random.default_rng(6)
    turns = 2 * np.pi * rng.permutation(BATCH * TIME) / (BATCH * TIME)
    ring = np.column_stack([np.cos(turns), np.sin(turns)])
    line = np.column_stack([turns, np.zeros_like(turns)])
    hidden = [points @ random_frame(UNITS, 2, rng).T for points in (ring, line)]
    tests = _topology(hidden)
    length = np.sqrt(3) - 2 * np.sin(np.pi / 24)
    # Null clouds and data are measured in single precision.
    yield Answer(
        "topology", "loop of the ring", length, tests.loc[("model-1", 1, "gaussian"), "longest"], 1e-5
    )
    yield Answer("topology", "p of the ring", 0.01, tests.loc[("model-1", 1, "gaussian"), "p"], 1e-12)
    yield Answer("topology", "loop of the line", 0.0, tests.loc[("model-2", 1, "gaussian"), "longest"], 1e-5)


def blobs() -> Iterator[Answer]:
    """Four clouds of normal points in the plane: no more of a loop than normal clouds of the same covariance have.

    A cloud is found significant with a probability of .05 or less, before the correction of Benjamini and
    Hochberg; the points are the same on every machine, and so is the answer, none.
    """
    rng = np.random.default_rng(7)
    hidden = [rng.normal(size=(BATCH * TIME, 2)) @ random_frame(UNITS, 2, rng).T for _ in range(4)]
    found = (_topology(hidden).xs((1, "gaussian"), level=("dimension", "null"))["p_bh"] <= 0.05).sum()
    yield Answer("topology", "blobs with a significant loop", 0.0, float(found), 0.0)


def _topology(hidden: list[NDArray[np.float64]]) -> pd.DataFrame:
    result = analyse("topology", plant_states(_as_states(hidden)), points=BATCH * TIME, null_clouds=99)
    return result.tests.members


def _as_states(hidden: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return states (member, batch, time, unit) of lists of states (state, unit)."""
    return np.stack(hidden).reshape(len(hidden), BATCH, TIME, -1)
