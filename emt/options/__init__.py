"""Options of tasks, models and analyses, read from the signatures that define them.

The keyword parameters of a constructor (or of an analysis function) *are* its options: names, types and
defaults come from the signature, the help text from the ``Parameters`` section of the docstring. They are
read from the source text, so that ``--help`` knows every flag of a model without importing torch.
"""

from emt.options import plugins
from emt.options.checks import check, first_problem, validate
from emt.options.flags import Parser, add_flags, names_text
from emt.options.registry import load, target_of
from emt.options.signatures import (
    REQUIRED,
    Option,
    assigns,
    options_of,
    options_of_model,
    require,
    require_arguments,
    summary_of,
)

__all__ = [
    "REQUIRED",
    "Option",
    "Parser",
    "add_flags",
    "assigns",
    "check",
    "first_problem",
    "load",
    "names_text",
    "options_of",
    "options_of_model",
    "plugins",
    "validate",
    "require",
    "require_arguments",
    "summary_of",
    "target_of",
]
