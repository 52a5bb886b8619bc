"""Kinds of text file, doors for names and texts, and hostile texts."""

from experiments.stress.door import Door
from experiments.stress.kind import Kind

KINDS: tuple[Kind, ...] = ()

DOORS: tuple[Door, ...] = ()

HOSTILE: tuple[str, ...] = ()
