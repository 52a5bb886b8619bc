"""What was published: mean returns of single runs at some updates (training logs of ischlag/Fast-Weight-Memory-public).

Each entry is the mean of 21 entries of the log around that update, on training and on test graphs, with a standard
error of about .2; a test entry is one episode on each of 600 graphs.
"""

from typing import NamedTuple

LOG = """
agent 0 1000 5000 7000 10000 20000 30000 50000 100000
fwm 46.0/45.7 49.7/49.2 55.3/53.7 62.3/60.2 78.9/77.3 98.7/96.8 104.3/101.9 109.8/106.6 -
lstm_512 45.8/45.9 49.6/49.3 52.7/51.3 53.1/52.1 53.3/52.7 54.4/52.6 56.0/53.5 59.1/54.5 67.4/58.8
lstm_1024 46.6/46.6 50.6/49.9 53.2/52.1 53.2/52.4 53.6/52.7 55.9/54.1 60.6/56.7 101.8/80.6 137.9/80.4
lstm_2048 47.0/46.5 51.7/50.9 53.9/52.9 54.1/53.1 54.9/53.2 57.7/54.8 69.6/62.4 122.8/82.8 141.3/80.3
lstm_4096 46.9/46.5 51.0/50.2 53.0/52.8 53.8/53.2 53.7/53.3 54.7/53.4 58.6/55.0 120.7/82.2 141.9/80.8
"""


class Published(NamedTuple):
    """Mean returns on training and on test graphs."""

    train: float
    test: float


def read(text: str) -> dict[str, dict[int, Published]]:
    """Return the entries by agent and update."""
    (_, *updates), *rows = (line.split() for line in text.strip().splitlines())
    return {
        agent: {
            int(update): Published(*map(float, entry.split("/")))
            for update, entry in zip(updates, entries, strict=True)
            if entry != "-"
        }
        for agent, *entries in rows
    }


PUBLISHED = read(LOG)
"""Entries by agent and update."""
