"""Interventions on one's own networks: parts of their states are changed, and their answers scored."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import xarray as xr

from emt.codes import Codes
from emt.errors import UserError
from emt.interventions.condition import Condition
from emt.interventions.intervene import intervene as intervene_on
from emt.own.language.models import LanguageModels
from emt.own.networks import OwnNetworks, in_evaluation_mode
from emt.own.recording import largest_block
from emt.own.run import Run
from emt.own.trials import Trials
from emt.record import Loaded

_EVENTS = ("written", "trial")
"""What says where windows of variables begin."""


def intervene(
    run: Run,
    conditions: Sequence[Condition] | None = None,
    *,
    codes: Codes | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Change the states of recorded networks, let them run on, and score their answers.

    Of language models what their memories write is changed, and all that comes of it is computed by the models; states
    are not. Trials of different length are cut to one, as for a search for fixed points, rows of tokens are not.

    Parameters
    ----------
    run
        what `emt.from_torch` or `emt.from_cells` recorded, with targets, or `emt.from_transformers`, with classes and
        with what steps ask for
    conditions
        what is changed (default: after up to 16 steps parts of the state are exchanged between trials, and with
        ``codes`` after up to 8 steps variables)
    codes
        directions of a linear task's variables, found from the first trials alone:
        ``find_variables(run.recording.isel(batch=slice(64))).codes()``; these are not edited
    seed
        of the draws of sources

    Returns
    -------
    Dataset
        effects (`emt.effects`), for `analysis.summarise_interventions`

    Raises
    ------
    UserError
        If the run holds no networks, its trials have no targets, or a condition is not possible.

    Examples
    --------
    >>> signs = np.random.default_rng(0).choice([-1.0, 1.0], (12, 6, 1))
    >>> parity = emt.trials(signs, signs.cumprod(axis=1))
    >>> network, readout = torch.nn.GRU(1, 4, batch_first=True), torch.nn.Linear(4, 1)
    >>> effects = emt.intervene(emt.from_torch(network, parity, readout=readout))
    >>> summarise_interventions(effects).population.index[:3].tolist()
    ['cut after 1 step', 'shuffle state after 1 step', 'cut after 2 steps']
    """
    if run.networks is None:
        raise UserError(
            "interventions: expected a run of networks, which can run again (emt.from_torch, emt.from_cells, "
            "emt.from_transformers); this one holds none"
        )
    loaded: Loaded = run.networks
    stack: Any = loaded.model
    if isinstance(stack, LanguageModels):
        return _intervene_on_writes(run, loaded, stack, conditions, seed)
    if not isinstance(stack, OwnNetworks) or not stack.state_dims:
        raise UserError(
            "interventions: expected networks with a state that steps start from; these have none"
        )
    trials: Any = loaded.task
    assert isinstance(trials, Trials)
    rows, length = largest_block(trials)
    targets, scored = (run.recording[name].to_numpy()[rows, :length][None] for name in ("targets", "scored"))
    batch = replace(run.batch, answers=targets, scored=scored.astype(bool))
    if codes is not None:
        events = {n: run.recording[n].to_numpy()[rows, :length][None] for n in _EVENTS if n in run.recording}
        codes = replace(codes, fitted=int((rows < codes.fitted).sum()))
        batch = replace(batch, events=events)
    with in_evaluation_mode(stack.networks):
        return intervene_on(loaded, batch, conditions, {"length": run.length}, codes=codes, seed=seed)


def _intervene_on_writes(
    run: Run, loaded: Loaded, stack: LanguageModels, conditions: Sequence[Condition] | None, seed: int
) -> xr.Dataset:
    """Change what language models write; see `intervene`."""
    if not stack.classes:
        raise UserError(
            "interventions: expected ids whose logits are compared; got none", parameter="classes"
        )
    with in_evaluation_mode(stack.networks):
        return intervene_on(
            loaded, run.batch, conditions, {"length": run.length}, kinds=("writes",), seed=seed
        )
