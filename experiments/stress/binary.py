"""Binary kinds of file: weights, resume states, traces, caches, data sets."""

from experiments.stress.kind import Kind

KINDS: tuple[Kind, ...] = ()
