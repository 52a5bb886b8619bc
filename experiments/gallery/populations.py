"""What the gallery is drawn from: small populations, and the commands that train, evaluate and analyse them."""

from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parents[2] / "build" / "gallery"
"""Where they are made, if nothing else is said."""


class Population(NamedTuple):
    """Some networks, trained for seconds.

    Attributes
    ----------
    name
        Of its folder.
    about
        What they are, as a heading.
    lines
        Command lines in turn; they run in the folder that holds all populations. Results of each are beside
        the population or, of several, in the folder of all.
    """

    name: str
    about: str
    lines: tuple[str, ...]


_TRAIN = "--num_models 3 --epoch_batches 40 --validation_batches 2 --accelerator cpu --engine inline"
_EVALUATE = "--accelerator cpu --num_workers 1"
_STEPS = "0 40 80 120 160"


def _population(
    name: str, about: str, train: str, evaluate: str, *analyses: str, first: str = ""
) -> Population:
    """Return a population; analyses are of its own summary."""
    lines = [
        f"emt train --experiment_name {name} {train} {_TRAIN}",
        f"emt evaluate --models_dir {name} {evaluate} {_EVALUATE}",
        *(f"emt analyze {analysis} --summary_file {name}" for analysis in analyses),
    ]
    return Population(name, about, tuple([first, *lines] if first else lines))


def _copy(name: str, about: str, train: str, evaluate: str, *analyses: str) -> Population:
    task = "--seq_length 3 --input_dim 4 --hidden_dim 24 --epochs 6 --batch_size 64 --learning_rate 3e-3"
    return _population(name, about, f"{task} --curriculum_horizons 4 8 16 {train}", evaluate, *analyses)


_CELLS = _copy(
    "repeat_copy",
    "Elman networks on repeat copy",
    f"--stop_accuracy 0.99 --keep_checkpoints {_STEPS}",
    "--dynamics --starts 32 --interventions states variables members --intervention_trials 64",
    *(
        "eigenvalue",
        "embedding",
        "persistence --null_clouds 49",
        "topology",
        "dimensionality",
        "variables",
        "dynamics",
    ),
    "interventions",
)

_SETS = _copy("orthogonal", "The same from orthogonal weights", "--init orthogonal", "--seq_length 3 5")

_BOTH = "--summary_files repeat_copy orthogonal --seq_length 3"

POPULATIONS = (
    _CELLS._replace(
        lines=(
            *_CELLS.lines,
            f"emt evaluate --models_dir repeat_copy --step {_STEPS} --no_figures {_EVALUATE}",
            "emt analyze emergence --summary_file repeat_copy",
            *_SETS.lines,
            *(f"emt analyze {analysis} {_BOTH}" for analysis in ("compare", "similarity", "degeneracy")),
        )
    ),
    _population(
        "delayed_match",
        "Gated recurrent units on delayed match to sample",
        "--task delayed_match --model_type gru --hidden_dim 16 --epochs 8 --batch_size 64 --learning_rate 5e-3",
        "--no_figures",
        *("decode", "trajectories --demix --permutations 99", "geometry --permutations 99"),
    ),
    _population(
        "fast_weights",
        "Fast weights on associative retrieval",
        "--task associative_retrieval --model_type fw --pairs 3 --hidden_dim 20 --embedding_dim 20 --epochs 30 "
        "--batch_size 64 --learning_rate 5e-3 --stop_accuracy 0.95",
        "--no_figures --interventions writes reads states --intervention_trials 32",
        *("match --trials 1", "memory", "interventions"),
    ),
    _population(
        "agents",
        "Agents with a dictionary on contextual choice",
        "--task contextual_choice --model_type dnd_lstm --trials 8 --epochs 10 --batch_size 1 --learning_rate 5e-4 "
        "--gradient_clip 0",
        "--no_figures --trace_sequences 4",
        *("match --trials 1", "memory"),
    ),
    _population(
        "linear_memory",
        "Linear memories with the delta rule (DeltaNet) on associative recall",
        "--task mqar --model_type deltanet --vocabulary 64 --steps 24 --pairs 4 --hidden_dim 24 --epochs 12 "
        "--batch_size 32 --learning_rate 5e-3 --stop_accuracy 0.95",
        "--no_figures",
        *("match --trials 1", "memory", "capacity"),
    ),
    _population(
        "plastic_weights",
        "EtherealRNN on palindromes",
        "--task characters --model_type ethereal --dataset small_palindromes --hidden_dim 12 --epochs 6",
        "--no_figures --trace_sequences 8",
        *("match --trials 1", "memory"),
    ),
    _population(
        "stories",
        "A Fast Weight Memory on stories",
        "--task catbabi --model_type fwm --data babi --folder en-valid --segment 60 --tasks 1 15 --hidden_dim 16 "
        "--embedding_dim 8 --memory_dim 6 --epochs 4 --learning_rate 5e-3",
        "--no_figures",
        *("match --trials 1", "memory"),
        first="python -m experiments.gallery.stories babi",
    ),
)
"""Populations that can be made beside each other."""
