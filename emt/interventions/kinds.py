"""Kinds of interventions, by the word that asks for them."""

KIND_TEXTS = {
    "writes": "writes of an associative memory are removed, or get the value of another trial's",
    "reads": "reads of an associative memory miss writes, or return something else",
    "states": "parts of the state get the content of another trial's, before each step",
    "variables": "variables of a linear task get the values of another trial's, in their directions of the state",
}
"""What each kind changes."""

KINDS = tuple(KIND_TEXTS)

TRIALS = 256
"""Trials of each length, without being told otherwise."""

FITTED = 64
"""Trials beside these that directions of variables are found from."""
