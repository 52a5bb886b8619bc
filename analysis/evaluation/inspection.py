"""What the figures of one member show, computed once: its spectra, subspaces and variable memories for each length."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.errors import AnalysisError
from analysis.evaluation.summary import TrainedMember, leading_eigenvalues
from analysis.spectra.values import corrected_statistics, eigenvalue_statistics
from analysis.variables.companion import companion_eigenvalues, companion_matrix
from analysis.variables.from_powers import VariableBasis, find_variable_basis
from analysis.variables.subspaces import (
    compare_as_reference,
    leading_subspace,
    left_singular_subspace,
    principal_subspace,
    subspace_overlap,
)

STATISTICS = ("mag_mean", "mag_max", "mag_std", "n_unstable_tolerance")
"""Statistics that are followed over lengths."""


@dataclass(frozen=True)
class LengthInspection:
    """A member at one length.

    Attributes
    ----------
    length
        L, vectors in a sequence.
    eigenvalues
        Spectrum of the leading invariant subspace: L·d values, or the whole spectrum if there is no theory.
    companion, theory
        Φ (L·d, L·d) and its spectrum, or None where the task has no linear operator.
    singular_eigenvalues
        Spectrum of the matrix compressed to its leading left singular vectors, or None.
    variables
        Basis of variable memories, or None where the network has no W_hh and linear readout.
    overlap
        Shared part of each pair of subspaces (`analysis.variables.subspaces.subspace_overlap`), labelled on
        both axes.
    statistics
        The `STATISTICS` of ``eigenvalues``.
    """

    length: int
    eigenvalues: NDArray[np.complex128]
    companion: NDArray[np.float64] | None
    theory: NDArray[np.complex128] | None
    singular_eigenvalues: NDArray[np.complex128] | None
    variables: VariableBasis | None
    overlap: pd.DataFrame
    statistics: dict[str, float]

    @property
    def modes(self) -> NDArray[np.complex128]:
        """The theory's eigenvalues that are not zero; empty without a theory."""
        return (
            np.empty(0, dtype=np.complex128) if self.theory is None else self.theory[np.abs(self.theory) > 0]
        )


@dataclass(frozen=True)
class Inspection:
    """A member at all lengths.

    Attributes
    ----------
    member
        The member.
    spectrum
        All eigenvalues of its matrix, by descending modulus.
    activity_shares
        Share of the variance of the states at scored steps along each principal component, descending.
    lengths
        One entry for each length, ascending.
    """

    member: TrainedMember
    spectrum: NDArray[np.complex128]
    activity_shares: NDArray[np.float64]
    lengths: tuple[LengthInspection, ...]


def inspect_member(
    member: TrainedMember, operators: Mapping[int, NDArray[np.float64]], lengths: Collection[int] = ()
) -> Inspection:
    """Compute what the figures of one member show; the parameters are those of `analysis.evaluation.summary.summarise`.

    Raises
    ------
    AnalysisError
        If its weights or its recorded states are not finite.
    """
    for name, array in (("states", member.hidden), ("readout weights", member.readout)):
        if array is not None and not np.isfinite(array).all():
            raise AnalysisError(f"{member.name}: expected finite {name}; got NaN or infinity")
    matrix = member.matrix
    spectrum = leading_eigenvalues(matrix)
    components, shares = principal_subspace(member.scored_states, member.hidden.shape[2])
    return Inspection(
        member=member,
        spectrum=spectrum,
        activity_shares=shares,
        lengths=tuple(
            _inspect_length(member, length, operators[length], components)
            if length in operators
            else _without_theory(length, spectrum)
            for length in sorted({*operators, *lengths})
        ),
    )


def _without_theory(length: int, spectrum: NDArray[np.complex128]) -> LengthInspection:
    return LengthInspection(length, spectrum, None, None, None, None, pd.DataFrame(), _statistics(spectrum))


def _inspect_length(
    member: TrainedMember, length: int, operator: NDArray[np.float64], components: NDArray[np.float64]
) -> LengthInspection:
    matrix = member.matrix
    companion = companion_matrix(operator, length)
    size = len(companion)
    invariant, eigenvalues = leading_subspace(matrix, size)
    bases: dict[str, NDArray[Any]] = {
        "invariant": invariant,
        "singular": left_singular_subspace(matrix, size),
    }
    singular, variables = None, None
    if member.recurrent is not None:
        bases["principal"] = components[:, :size]
        singular = compare_as_reference(matrix, {length: companion})[length].eigenvalues
        if member.readout is not None:
            variables = find_variable_basis(matrix, member.readout, operator, member.hidden)
            bases["variables"] = np.linalg.qr(variables.basis[:, variables.kept])[0]
    return LengthInspection(
        length=length,
        eigenvalues=eigenvalues,
        companion=companion,
        theory=companion_eigenvalues(companion),
        singular_eigenvalues=singular,
        variables=variables,
        overlap=_overlaps(bases),
        statistics=_statistics(eigenvalues),
    )


def _overlaps(bases: Mapping[str, NDArray[Any]]) -> pd.DataFrame:
    table = [[subspace_overlap(a, b) for b in bases.values()] for a in bases.values()]
    return pd.DataFrame(table, index=list(bases), columns=list(bases))


def _statistics(eigenvalues: NDArray[np.complex128]) -> dict[str, float]:
    values = eigenvalue_statistics(eigenvalues) | corrected_statistics(eigenvalues)
    return {name: values[name] for name in STATISTICS}
