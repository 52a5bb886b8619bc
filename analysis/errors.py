"""Errors of analyses."""

from emt.errors import UserError


class AnalysisError(UserError):
    """The data or an option does not allow this analysis; the message says expected, got and where."""


class NoMemoryError(AnalysisError):
    """The analysis needs an associative memory, and the model keeps none."""
