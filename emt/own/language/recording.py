"""Record recurrent language models of `transformers`: a Trace with every write and read of their memories."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, cast

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import nn

from emt import trace
from emt.errors import UserError
from emt.own.description import describe_network
from emt.own.language.calls import Chosen
from emt.own.language.layout import check_size, same_layout
from emt.own.language.models import LanguageModels
from emt.own.language.recorder import Recorder
from emt.own.language.tokens import Text, events, read_text, token_names
from emt.own.networks import as_list, check_seeds, in_evaluation_mode
from emt.own.run import Run
from emt.own.trials import Trials, trials
from emt.progress import Progress
from emt.record import Loaded
from emt.tasks.base import Batch, Task

OLDEST = (5, 15)
"""Version of `transformers` that first had the functions whose names are known here."""


LABELS = ("model", "task", "experiment", "seeds")
"""What loaded members say of themselves."""


def from_transformers(
    models: nn.Module | Sequence[nn.Module],
    token_ids: Any,
    *,
    names: Any = None,
    layers: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
    channels: int | Sequence[int] | None = 64,
    hidden_layer: int = -1,
    classes: Sequence[int] | None = None,
    written: Any = None,
    asked: Any = None,
    induction: bool = False,
    tolerance: float | None = None,
    seeds: Sequence[int] = (),
    label: str | None = None,
) -> Run:
    """Record recurrent language models of `transformers`: what each head of each layer wrote, kept, erased and read.

    Models run as they are, in evaluation mode, without gradients, from the start of each row and without a
    cache. Each head is a memory, ``layer0_head3``; layers and heads count from 0, as in the model. On every run
    the log is proved: computed from it alone, the recurrence gives what the model's own function returned.

    Parameters
    ----------
    models
        one model, or several of one architecture (checkpoints, seeds): the members
    token_ids
        ids (batch, time), or a list of rows of different length; not padded
    names
        what labels tokens: a tokenizer, or the text of each id, as a list or a dict (default: the ids)
    layers, heads
        numbers of those that are logged (default: all)
    channels
        of a Mamba layer, which has a memory for each of thousands of channels: how many of them are logged, at
        even distances, or which; None for all
    hidden_layer
        which of the model's ``hidden_states`` a trace calls ``hidden``: 0 is the embedding, n what the nth layer
        leaves, -1 the last, after the final norm
    classes
        ids whose logits are the outputs; the targets are then those of the next tokens that are among them
        (default: none, since a vocabulary is large)
    written, asked
        items that steps write and ask for, integers (batch, time), -1 for none (default: each step writes its
        token; what is asked are then ids of tokens)
    induction
        whether each step whose token occurred before asks for the token that followed it last
    tolerance
        largest difference, relative to the largest output, at which a log is proved (default: 1e-5, xLSTM 5e-5;
        2e-2 in bfloat16 and float16)
    seeds
        seeds of the models, so that analyses can pair those of two runs
    label
        what figures call the run (default: the model's type)

    Raises
    ------
    UserError
        If a model calls no recurrence that is known here, rows are padded, the log would be larger than 2 GB, or
        a proof fails.

    Examples
    --------
    >>> from transformers import Mamba2Config, Mamba2ForCausalLM
    >>> sizes = {"num_heads": 2, "head_dim": 8, "state_size": 4, "n_groups": 1, "num_hidden_layers": 1}
    >>> model = Mamba2ForCausalLM(Mamba2Config(vocab_size=9, hidden_size=8, **sizes))
    >>> run = emt.from_transformers(model, [[3, 5, 4, 3, 5]], induction=True)
    >>> memory_names(run.recording)
    ('layer0_head0', 'layer0_head1')
    """
    check_version()
    members = _checked_models(models)
    text = read_text(token_ids, *_vocabulary(members[0]))
    known = _known(text, token_names(names, text.kinds), events(text, written, asked, induction), classes)
    chosen = Chosen(layers, heads, channels)
    recorder = Recorder(text, len(members), chosen, hidden_layer, classes, tolerance)
    with in_evaluation_mode(members), torch.no_grad():
        layout = same_layout(members, text, chosen)
        size = check_size(layout, len(members) * len(text.ids), text.ids.shape[1])
        with Progress("models", total=len(members)) as progress:
            for place, model in enumerate(members):
                progress.update(place, f"a log of {size / 1e6:.1f} MB of {len(layout)} layers")
                recorder.record(model, place)
    about = {
        "model": {"type": label or str(members[0].config.model_type)},
        "task": {},
        "experiment": label or str(members[0].config.model_type),
        "seeds": [int(seed) for seed in check_seeds(seeds, len(members))],
        "accuracy": known.rule,
        "tokens": list(known.tokens),
        "token_ids": text.kinds.tolist(),
        "outputs": token_names(names, np.asarray(classes or (), dtype=int)),
        "length": known.length,
        "states": ["hidden"],
        "memories": recorder.rules,
        "step_matrix": None,
        "proof": recorder.proof,
        "recorded_with": "from_transformers",
    }
    variables = {**known.variables(len(classes or ())), **recorder.states()}
    numbers = list(range(1, len(members) + 1))
    recording = trace.make(variables, numbers, about, recorder.nodes(), known.trial_ids)
    stack = LanguageModels(members, seeds, chosen, classes or (), recorder.rules, recorder.edits, tolerance)
    loaded = Loaded(stack, cast("Task", known), tuple(numbers), {n: about[n] for n in LABELS})
    return Run(recording, loaded, _batch(text, known, recording), [describe_network(m) for m in members])


def _batch(text: Text, known: Trials, recording: xr.DataTree) -> Batch:
    """Return the rows as a batch, which interventions run again."""
    targets, scored = recording["targets"].to_numpy(), recording["scored"].to_numpy().astype(bool)
    events = {name: values[None] for name, values in known.events.items()}
    return Batch(text.ids[None], targets[None], scored[None], events)


def check_version() -> None:
    """Refuse a version of `transformers` whose functions are not known.

    Raises
    ------
    UserError
    """
    try:
        found = version("transformers")
    except PackageNotFoundError:
        found = "none"
    numbers = tuple(int(part) for part in found.split(".")[:2] if part.isdigit())
    if numbers < OLDEST:
        raise UserError(
            f"from_transformers: expected transformers {OLDEST[0]}.{OLDEST[1]} or newer "
            f'(pip install "emt-workbench[hf]"); found {found}'
        )


def _checked_models(models: Any) -> list[Any]:
    members = as_list("models", models)
    for number, model in enumerate(members, 1):
        if not isinstance(model, nn.Module) or not hasattr(getattr(model, "config", None), "model_type"):
            raise UserError(
                f"expected language models of transformers; model {number} is {type(model).__name__}",
                parameter="models",
            )
    return members


def _vocabulary(model: Any) -> tuple[int | None, int]:
    """Return the id of padding, if there is one, and the number of ids."""
    config = model.config.get_text_config()
    return getattr(config, "pad_token_id", None), config.vocab_size


def _known(
    text: Text, tokens: Sequence[str], asks: dict[str, NDArray[Any]], classes: Sequence[int] | None
) -> Trials:
    """Return rows as trials: without inputs, and with the next tokens as targets where these are among ``classes``."""
    targets = None
    if classes is not None:
        places = {token: place for place, token in enumerate(classes)}
        targets = np.vectorize(lambda token: places.get(token, -1), otypes=[int])(text.following)
    return trials(
        np.zeros((*text.ids.shape, 0), np.float32),
        targets,
        rule="argmax",
        lengths=text.lengths,
        events={"token": text.numbers, **asks},
        tokens=tokens,
        trial_ids=text.identities,
    )
