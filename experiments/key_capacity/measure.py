"""Store associations of pairs of symbols under the tensor product of both symbols, or under both side by side.

Writes a table and a figure: the squared error of what is read, and how often it is nearest to the right value, over
the number of associations, for three ways of writing, beside the error in theory.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from analysis.figures.style import save_figure
from analysis.statistics import mean_interval
from analysis.tables import to_csv
from emt import files
from emt.commands.output import say
from emt.commands.script import run_script
from emt.ops import linear_memory
from emt.options import Option
from emt.streams import stream
from experiments.command_line import Count, build_parser, values_of
from experiments.key_capacity.figures import draw
from experiments.key_capacity.theory import error_of_best, error_of_sum

Array = NDArray[np.float64]

SYMBOLS = 10
LOADS = (5, 10, 15, 20, 25, 30, 40, 50, 60, 70, 80, 90, 100)
KEYS = ("tensor product", "side by side")
WRITES = ("sum", "delta rule", "best")
"""v kᵀ summed; replaced, in one pass; and the matrix with the smallest error that any way of writing can reach."""

OPTIONS = (
    Option("seeds", Count, 20, "draws of symbols, values and pairs"),
    Option("size", Count, 32, "numbers in a symbol and in a value, as in the Fast Weight Memory"),
    Option("out", str, "key_capacity", "folder of the table and the figure"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, measure, save, print; return the exit code."""
    parser = build_parser("experiments.key_capacity.measure", __doc__, {"": OPTIONS})
    given = values_of(OPTIONS, vars(parser.parse_args(arguments)), "the command line")
    cells = summarise(pd.concat(measure(seed, given["size"]) for seed in range(given["seeds"])))
    folder = Path(given["out"])
    folder.mkdir(parents=True, exist_ok=True)
    files.write_bytes(folder / "key_capacity.csv", to_csv(cells))
    written = save_figure(draw(cells), folder / "key_capacity")
    say(*cells.xs(LOADS[-1], level="load").round(3).to_string().splitlines())
    say(f"Written to {folder}: key_capacity.csv, {', '.join(path.name for path in written)}")
    return 0


def measure(seed: int, size: int) -> pd.DataFrame:
    """Return a row for each kind of keys, load and way of writing: error and accuracy of reads, and theory's error."""
    generator = stream("key_capacity", seed, "test", 0)
    symbols = unit(generator.standard_normal((SYMBOLS, size)))
    pairs = generator.permutation(SYMBOLS * SYMBOLS)
    first, second = np.divmod(pairs, SYMBOLS)
    values = unit(generator.standard_normal((len(pairs), size)))
    rows = []
    for kind, keys in keys_of(symbols[first], symbols[second]).items():
        for load in LOADS:
            best = error_of_best(first[:load], second[:load], product=kind == KEYS[0])
            expected = {"sum": error_of_sum(keys[:load]), "best": best}
            for write in WRITES:
                read = reads(keys[:load], values[:load], write)
                rows.append(
                    {
                        "keys": kind,
                        "load": load,
                        "write": write,
                        "error": np.square(read - values[:load]).sum(axis=1).mean(),
                        "accuracy": np.mean((read @ values[:load].T).argmax(axis=1) == np.arange(load)),
                        "theory": expected.get(write, np.nan),
                    }
                )
    return pd.DataFrame(rows)


def keys_of(first: Array, second: Array) -> dict[str, Array]:
    """Return both kinds of keys of pairs, (pair, number), all of length one.

    >>> keys_of(np.eye(2), np.eye(2))["tensor product"]
    array([[1., 0., 0., 0.],
           [0., 0., 0., 1.]])
    """
    product = np.einsum("pi,pj->pij", first, second).reshape(len(first), -1)
    return dict(zip(KEYS, (product, np.concatenate([first, second], axis=1) / np.sqrt(2)), strict=True))


def reads(keys: Array, values: Array, write: str) -> Array:
    """Return what a memory returns for each key after all were written in this order, (pair, number)."""
    if write == "best":
        return np.asarray(keys @ np.linalg.lstsq(keys, values, rcond=None)[0])
    k, v = torch.tensor(keys), torch.tensor(values)
    erase = torch.ones(len(keys), dtype=k.dtype) if write == "delta rule" else None
    memory = linear_memory(k, k, v, erase=erase).memory
    return np.asarray((k @ memory.mT).numpy())


def unit(vectors: Array) -> Array:
    """Return vectors (…, number) of length one."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Return means over draws with 95 % intervals by kind of keys, way of writing and load, beside theory."""
    cells: dict[object, dict[str, float]] = {}
    for name, cell in rows.groupby(["keys", "write", "load"], sort=False):
        intervals = {
            "error": mean_interval(cell["error"], bounds=(0.0, np.inf)),
            "accuracy": mean_interval(cell["accuracy"], bounds=(0.0, 1.0)),
        }
        cells[name] = {"n": len(cell), "theory": cell["theory"].mean()}
        for score, interval in intervals.items():
            cells[name] |= {
                score: interval.estimate,
                f"{score}_low": interval.low,
                f"{score}_high": interval.high,
            }
    table = pd.DataFrame.from_dict(cells, orient="index")
    table.index = pd.MultiIndex.from_tuples(list(cells), names=["keys", "write", "load"])
    return table


if __name__ == "__main__":
    sys.exit(run_script("key_capacity", main))
