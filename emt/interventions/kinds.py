"""Kinds of interventions, by the word that asks for them."""

KIND_TEXTS = {
    "writes": "writes of an associative memory are removed, or get the value of another trial's",
    "reads": "reads of an associative memory miss writes, or return something else",
    "states": "parts of the state get the content of another trial's, before each step",
    "variables": "variables of a linear task get the values of another trial's, in their directions of the state",
    "members": "variables get the values that another member holds; for each pair, and only if asked for",
}
"""What each kind changes."""

ALL_KINDS = tuple(KIND_TEXTS)

KINDS = ALL_KINDS[:-1]
"""Those without being asked for others: what grows with the square of the members is not among them."""

OF_VARIABLES = ALL_KINDS[-2:]
"""Those that need the directions of a task's variables."""

TRIALS = 256
"""Trials of each length, without being told otherwise."""

FITTED = 64
"""Trials beside these that directions of variables are found from."""
