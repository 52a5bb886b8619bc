"""What a known system answers: a quantity of a command's result, what it must be, what it is."""

import importlib
import math
from dataclasses import dataclass
from typing import Any

from analysis import COMMANDS


@dataclass(frozen=True)
class Answer:
    """One quantity of one command's result.

    Attributes
    ----------
    command
        A key of `analysis.COMMANDS`.
    quantity
        What was measured, in words.
    expected
        Its value by derivation.
    got
        What the analysis says.
    tolerance
        Largest difference that passes; its source is rounding, which the system's docstring explains if it is
        large.
    """

    command: str
    quantity: str
    expected: float
    got: float
    tolerance: float

    @property
    def ok(self) -> bool:
        """Whether the value is right: NaN only where NaN is expected, infinities equal."""
        if math.isnan(self.expected) or math.isnan(self.got):
            return math.isnan(self.expected) and math.isnan(self.got)
        return self.expected == self.got or abs(self.expected - self.got) <= self.tolerance


def analyse(command: str, subject: Any, **options: Any) -> Any:
    """Return the result of a command's analysis, called as `emt analyze` calls it."""
    module, _, name = COMMANDS[command].function.partition(":")
    return getattr(importlib.import_module(module), name)(subject, **options)
