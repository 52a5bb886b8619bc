"""Write the published data set of a seed as one npz file, row for row.

Data sets of seeds that lie closer together than their number of chunks share rows, as published; members of a
population that train without a file have rows of their own.
"""

import sys
from pathlib import Path

from emt import files
from emt.commands.output import say
from emt.commands.script import run_script
from emt.errors import UserError
from emt.streams import Split
from emt.tasks.retrieval_data import CHUNK, LETTERS, count_shared, make_data_set, to_npz
from experiments.command_line import build_parser

COUNTS: dict[Split, int] = {"train": 100_000, "validation": 10_000, "test": 20_000}


def main(arguments: list[str] | None = None) -> int:
    """Parse, generate, write, report; return the exit code."""
    parser = build_parser("experiments.associative_retrieval.make_dataset", __doc__)
    add = parser.add_argument
    add("--K", type=int, default=8, metavar="N", help="pairs in a row (default: 8)")
    for split, flag in (("train", "train_n"), ("validation", "val_n"), ("test", "test_n")):
        default = COUNTS[split]  # type: ignore[index]
        add(
            f"--{flag}",
            dest=split,
            type=int,
            default=default,
            metavar="N",
            help=f"{split} rows (default: {default})",
        )
    add("--seed", type=int, default=0, metavar="N", help="seed of the data set (default: 0)")
    add("--chunk", type=int, default=CHUNK, metavar="N", help=f"rows drawn from one seed (default: {CHUNK})")
    add("--out", metavar="FILE", help="file to write (default: data/ar_K{K}_seed{seed}.npz)")
    options = parser.parse_args(arguments)
    if not 1 <= options.K <= LETTERS:
        raise UserError(f"--K: must be 1 to {LETTERS}; got {options.K}")
    for flag, value in (("train_n", options.train), ("val_n", options.validation), ("test_n", options.test)):
        if value < 1:
            raise UserError(f"--{flag}: must be at least 1; got {value}")
    if options.chunk < 1:
        raise UserError(f"--chunk: must be at least 1; got {options.chunk}")
    counts: dict[Split, int] = {
        "train": options.train,
        "validation": options.validation,
        "test": options.test,
    }
    path = Path(options.out or f"data/ar_K{options.K}_seed{options.seed}.npz")
    data = make_data_set(options.K, counts, options.seed, options.chunk)
    files.write_bytes(path, to_npz(data))
    shared = count_shared(data.rows["test"], data.rows["train"])
    say(f"{path}: K = {options.K}, {', '.join(f'{n} {split}' for split, n in counts.items())} rows")
    say(
        f"{shared} of {counts['test']} test rows ({shared / counts['test']:.3%}) also occur in the training rows"
    )
    return 0


if __name__ == "__main__":
    sys.exit(run_script("make_dataset", main))
