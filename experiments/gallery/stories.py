"""Write stories in the layout of the bAbI tasks, from a grammar of a few words.

The published stories cannot be shipped; these let the documentation show what is drawn of models that read stories.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from emt.files import write_bytes

SPLITS = {"train": 60, "valid": 10, "test": 20}
"""Stories of each task."""


def whereabouts(draw: np.random.Generator) -> str:
    """Return a story of task 1: twice two people who move, and a question about one of them."""
    lines: list[str] = []
    for _ in range(2):
        people = draw.permutation(["Ada", "Ben", "Cleo"])[:2]
        rooms = draw.permutation(["attic", "cellar", "yard", "hall"])[:2]
        lines += [f"{who} walked to the {room}." for who, room in zip(people, rooms, strict=True)]
        queried = int(draw.integers(2))
        lines.append(f"Where is {people[queried]}? \t{rooms[queried]}\t{len(lines) - 1 + queried}")
    return "".join(f"{number} {line}\n" for number, line in enumerate(lines, 1))


def fears(draw: np.random.Generator) -> str:
    """Return a story of task 15: who fears whom, two lines for each answer."""
    a, b, c = draw.permutation(["rat", "fox", "owl"])
    return (
        f"1 Every {a} fears the {b}.\n2 Every {b} fears the {c}.\n3 Pip is a {a}.\n4 Tam is a {b}.\n"
        f"5 What does Pip fear?\t{b}\t3 1\n6 What does Tam fear?\t{c}\t4 2\n"
    )


def main(arguments: Sequence[str]) -> int:
    """Write the stories below a folder, the same on every run."""
    folder = Path(arguments[0]) / "tasks_1-20_v1-2" / "en-valid"
    for number, (task, story) in enumerate({1: whereabouts, 15: fears}.items()):
        for place, (split, count) in enumerate(SPLITS.items()):
            draw = np.random.default_rng((number, place))
            text = "".join(story(draw) for _ in range(count))
            write_bytes(folder / f"qa{task}_{split}.txt", text.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
