"""Signatures: a spectrum as a list of named features, so that models become points of one space."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from analysis.errors import AnalysisError
from analysis.population import Population
from analysis.spectra.values import (
    ANGLE_EDGES,
    MAGNITUDE_EDGES,
    check_eigenvalues,
    eigenvalue_histograms,
    eigenvalue_statistics,
)

SignatureType = Literal["histogram", "statistics", "combined"]


def spectral_signature(eigenvalues: ArrayLike, signature_type: SignatureType = "combined") -> dict[str, float]:
    """Return the features of one spectrum by name, unscaled, in the reference implementation's order.

    Parameters
    ----------
    eigenvalues
        Complex array (mode,).
    signature_type
        * ``histogram``: counts of 36 bins of absolute angle, then of 20 bins of modulus;
        * ``statistics``: the 21 values of `eigenvalue_statistics`;
        * ``combined``: the histogram and 7 values read from it: mean, std and index of the peak bin of the angle and of
          the modulus (from bin centres), and the count in bins of modulus that begin above 1.
    """
    if signature_type == "statistics":
        return eigenvalue_statistics(eigenvalues)
    if signature_type not in ("histogram", "combined"):
        raise AnalysisError(f"--signature_type: expected histogram, statistics or combined; got {signature_type!r}")
    angle, magnitude, _ = eigenvalue_histograms(eigenvalues)
    features = {f"angle_bin_{i}": float(n) for i, n in enumerate(angle)}
    features |= {f"mag_bin_{i}": float(n) for i, n in enumerate(magnitude)}
    if signature_type == "combined":
        features |= _moments("angle", angle, ANGLE_EDGES) | _moments("mag", magnitude, MAGNITUDE_EDGES)
        # The bin that begins at 1 holds the modes of an exact solution, so it is not counted.
        features["mag_hist_above_one"] = float(magnitude[MAGNITUDE_EDGES[:-1] > 1.0].sum())
    return features


def signature_table(
    spectra: Population | Sequence[ArrayLike], signature_type: SignatureType = "combined"
) -> pd.DataFrame:
    """Return the unscaled signatures of all models: a row for each model, a column for each feature."""
    if isinstance(spectra, Population):
        index = pd.Index(spectra.names, name="model_name")
        values = [check_eigenvalues(v, n) for n, v in zip(spectra.names, spectra.eigenvalues, strict=True)]
        return pd.DataFrame([spectral_signature(v, signature_type) for v in values], index=index)
    return pd.DataFrame([spectral_signature(v, signature_type) for v in spectra])


def standardise(features: pd.DataFrame) -> pd.DataFrame:
    """Scale each column to mean 0 and (population) standard deviation 1; constant columns are left out.

    Without it features with large units (counts, indices of bins) decide every distance.
    """
    spread = features.std(ddof=0)
    kept = spread > 1e-12 * features.abs().max().clip(lower=1.0)
    return (features.loc[:, kept] - features.loc[:, kept].mean()) / spread[kept]


def _moments(name: str, counts: NDArray[np.int64], edges: NDArray[np.float64]) -> dict[str, float]:
    centres = (edges[:-1] + edges[1:]) / 2
    mean = np.average(centres, weights=counts)
    return {
        f"{name}_hist_mean": float(mean),
        f"{name}_hist_std": float(np.sqrt(np.average((centres - mean) ** 2, weights=counts))),
        f"{name}_hist_peak": float(np.argmax(counts)),
    }
