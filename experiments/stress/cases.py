"""What is killed, starved and doubled: commands, on what they start from, with what they leave when left alone."""

import fcntl
import shlex
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from analysis import COMMANDS
from emt.models import MODELS
from experiments.stress import results
from experiments.stress.commands import Ended, Running

LIMIT = 300.0
"""Seconds after which a command hangs."""

BINDING = "--task variable_binding --seq_length 3 --input_dim 4 --curriculum_horizons 3 5"
RETRIEVAL = "--task associative_retrieval --pairs 3"
CONVOLVED = ("linear_attention", "deltanet", "gated_deltanet", "mamba2", "mlstm", "kda", "attention")
TASKS = {
    "gru": "--task graph_navigation --steps 5 --graphs 6",
    "dnd_lstm": "--task contextual_choice --trials 4 --steps 5 --t_off 2 --evidence 3",
    "ethereal": "--task characters --dataset small_palindromes",
    "ethereal_rnn": "--task characters --dataset small_palindromes --layers 1",
    **dict.fromkeys(
        ("irnn", "ar_lstm", "alstm", "fw", "fwm", "rwkv7", "mnm", "stacked_lstm"),
        RETRIEVAL,
    ),
    **dict.fromkeys(("awd_lstm", "awd_fwm"), f"{RETRIEVAL} --embedding_dim 5"),
    **dict.fromkeys(CONVOLVED, f"{RETRIEVAL} --conv_size 2"),
    "fwp": "--task unique_keys --num_keys 4",
    "transformer_xl": f"{RETRIEVAL} --layers 1 --heads 2",
}
"""What each model is trained on, variable binding if there is no entry."""

SIZE = "--num_models 3 --epochs 2 --epoch_batches 12 --validation_batches 1 --batch_size 4 --hidden_dim 6"
QUICK = {"topology": "--points 30 --null_clouds 19", "match": "--trials 1"}
"""Flags that make an analysis quick."""


def train(model: str, options: str = "--engine inline") -> str:
    """Return the words that train three small networks of a model in the folder ``run``."""
    return (
        f"train --experiment_name run --output_dir . --accelerator cpu --model_type {model} "
        f"{TASKS.get(model, BINDING)} {SIZE} --keep_checkpoints 0 5 {options}"
    )


EVALUATE = "evaluate --models_dir run --test_horizon 8 --num_workers 2 --accelerator cpu"
SUMMARY = "run/evaluation_summary.json"


def _write_earlier(folder: Path) -> None:
    from experiments.stress.weights import make_earlier_config

    make_earlier_config(folder)


TREES: dict[str, tuple[str | Callable[[Path], None], ...]] = {
    "nothing": (),
    "earlier": (_write_earlier,),
    "trained": (train("rnn"),),
    "evaluated": (
        train("rnn"),
        f"{EVALUATE} --dynamics --starts 8 --interventions --intervention_trials 8",
        f"{EVALUATE} --step 0 5 --no_figures",
    ),
    "memory": (train("fw"), f"{EVALUATE} --no_figures"),
}
"""Commands, and what is no command, that make what others start from."""


@dataclass
class Case:
    """A command and what it starts from.

    Attributes
    ----------
    name, words, tree
        What it is called, what a user types, and the name of what it starts from, of `TREES`.
    alone
        Hashes of its results when it is left alone; `prepare` runs it.
    seconds
        What it takes when it is left alone.
    """

    name: str
    words: str
    tree: str = "nothing"
    alone: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def has_workers(self) -> bool:
        """Whether its work is done by processes that it starts."""
        return "--engine local" in self.words or "--num_workers" in self.words

    def run(self, folder: Path, before: Callable[[], None] = lambda: None) -> Running:
        """Start it in a folder."""
        return Running(shlex.split(self.words), folder, before)

    def prepare(self, trees: "Trees", before: Callable[[], None] = lambda: None) -> None:
        """Run it alone, once.

        Raises
        ------
        RuntimeError
            If it fails.
        """
        if self.alone:
            return
        place = trees.folder / f"alone {self.name}"
        trees.copy(self.tree, place)
        ended = self.run(place, before).wait(LIMIT)
        if ended.code:
            raise RuntimeError(f"{self.name}: expected it to succeed when left alone; {ended.text()}")
        self.alone, self.seconds = results.results_of(place), ended.seconds


class Trees:
    """What commands start from, made when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def copy(self, name: str, target: Path) -> None:
        """Copy a tree into a new folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f".{name}").open("w") as lock:
            # Several processes attack.
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (tree := self.folder / name).exists():
                made = Path(tempfile.mkdtemp(dir=self.folder))
                for step in TREES[name]:
                    if callable(step):
                        step(made)
                    else:
                        _expect_success(Running(shlex.split(step), made).wait(LIMIT), step)
                made.rename(tree)
        results.copy(tree, target)


def _expect_success(ended: Ended, words: str) -> None:
    if ended.code:
        raise RuntimeError(f"{words}: {ended.text()}")


def cases() -> Sequence[Case]:
    """Return all commands that are killed: each model's training, import, evaluation, a sweep, each analysis."""
    size = "--num_models 2 --epochs 1 --epoch_batches 10"
    made = [Case(f"train {model}", train(model)) for model in MODELS]
    made += [
        Case("train local", train("rnn", "--engine local")),
        Case("evaluate", EVALUATE, "trained"),
        Case("evaluate dynamics", f"{EVALUATE} --dynamics --starts 8 --no_figures", "trained"),
        Case("evaluate step", f"{EVALUATE} --step 0 5 --no_figures", "trained"),
        Case("import", "import old --output_dir . --experiment_name run", "earlier"),
        Case("sweep", f"sweep repeat_copy --output_dir . --engine local --accelerator cpu {size}"),
    ]
    return made + [_analysis(name) for name in COMMANDS]


def _analysis(name: str) -> Case:
    command = COMMANDS[name]
    tree = "memory" if command.function.startswith("analysis.memory.") else "evaluated"
    given = f"--summary_files {SUMMARY} {SUMMARY}" if command.several else f"--summary_file {SUMMARY}"
    words = f"analyze {name} {given} --output_dir run/{command.folder} {QUICK.get(name, '')}"
    return Case(f"analyze {name}", words, tree)
