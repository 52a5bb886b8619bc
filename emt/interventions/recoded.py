"""Conditions on variables: states move in directions that hold them, by what variables are in another trial."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emt.codes import Codes, continued, magnitude_fit
from emt.interventions.condition import Condition
from emt.interventions.driver import UneditedRun, run_between
from emt.interventions.queries import Answers, Array, Queries
from emt.interventions.scores import SCORES, Outcome, score
from emt.interventions.variable_conditions import columns_of
from emt.interventions.windows import Windows
from emt.models.base import Context, Model, State
from emt.record import to_array
from emt.streams import stream

Rows = NDArray[np.int64]


class Recoded:
    """Members and trials whose variables are exchanged; trials that codes come from are left alone."""

    def __init__(
        self,
        model: Model,
        inputs: Tensor,
        context: Context,
        windows: Windows,
        answers: Answers,
        queries: Queries,
        codes: Codes,
        seed: int,
    ) -> None:
        self.model, self.inputs, self.context = model, inputs, context
        self.windows, self.answers, self.codes, self.seed = windows, answers, codes, seed
        self.sequence = queries.sequence
        # Whatever a query is about, exchanged variables show in all answers that follow.
        self.queries = replace(queries, step=np.full(len(self.sequence), -1))
        self.names = moving_names(model)
        self.unedited = UneditedRun(self.model, inputs, context)

    def run(self, condition: Condition) -> Outcome:
        """Return the outcome of a condition, scores being means over its draws."""
        rows = self._sources(condition.after)
        source = np.where(condition.edit == "unchanged", -1, rows)[self.sequence]
        if not self.codes.known.any():
            nothing = np.full((len(self.codes.known), len(source)), np.nan)
            return Outcome(dict.fromkeys(SCORES, nothing), source, nothing[0], nothing)
        draws = [self._draw(condition, rows, draw) for draw in range(condition.draws)]
        scores = {name: np.mean([draw[name] for draw in draws], axis=0) for name in (*SCORES, "size")}
        return Outcome(scores, source, np.full(len(source), np.nan), scores.pop("size"))

    def _draw(self, condition: Condition, rows: Rows, draw: int) -> dict[str, Array]:
        after = condition.after
        last = self.windows.last(after, self.codes.length)
        state, generator = (
            self.unedited.state(after),
            stream("intervention.directions", self.seed, "test", draw),
        )
        change = self._change(condition, rows, generator)
        changed = {**state, **moved(state, self.names, change)}
        outputs, _ = run_between(self.model, self.inputs, self.context, changed, after, last)
        answers = replace(
            self.answers, targets=self.answers.targets[:, :last], judged=self.answers.judged[:, :last]
        )
        wanted = np.full(answers.targets.shape, np.nan)
        wanted[:, after:] = self._wanted(condition, rows, last - after)
        scores = score(to_array(outputs), answers, self.queries, after, wanted)
        scores["size"] = np.linalg.norm(change, axis=2)[:, self.sequence]
        left_out = ~self.codes.known[:, None] | (self.sequence < self.codes.fitted)
        return {name: np.where(left_out, np.nan, values) for name, values in scores.items()}

    def _sources(self, after: int) -> Rows:
        """Return for each sequence another one, the same for all conditions of a step; neither of those fitted to."""
        count = len(self.windows.values)
        order = stream("intervention", self.seed, "test", after).permutation(
            np.arange(self.codes.fitted, count)
        )
        rows = np.arange(count)
        rows[order] = np.roll(order, 1)
        return rows

    def _wanted(self, condition: Condition, rows: Rows, steps: int) -> Array:
        """Return what trials should answer, (trial, step, target): from their windows with what was exchanged."""
        windows = self.windows.values[:, condition.after - 1].copy()
        if condition.edit != "unchanged":
            places = self.codes.positions[columns_of(condition.part, self.codes)]
            if condition.target == "but own":
                windows, own = windows[rows], windows
                windows[:, places] = own[:, places]
            else:
                windows[:, places] = windows[rows][:, places]
        return continued(windows, self.codes.operator, steps)

    def _change(self, condition: Condition, rows: Rows, generator: np.random.Generator) -> Array:
        """Return what is added to the states, (member, trial, state)."""
        states = self.states(condition.after)
        if condition.edit == "unchanged":
            return np.zeros_like(states)
        columns, difference = columns_of(condition.part, self.codes), states[:, rows] - states
        assert columns is not None
        variables = self.windows.values[:, condition.after - 1][:, self.codes.positions[columns]]
        if condition.edit == "set":
            amounts = np.broadcast_to(variables[rows] - variables, (len(states), *variables.shape))
        else:
            reader = self._pseudo_inverse if condition.target == "pinv" else self.codes.reader
            amounts = difference @ reader[:, columns].mT
        own = amounts @ self.codes.basis[:, :, columns].mT
        if condition.target == "but own":
            return np.asarray(difference - own)
        if condition.target != "random":
            return np.asarray(amounts @ self._directions(condition.target)[:, :, columns].mT)
        drawn = random_directions(states.shape, len(columns), generator)
        # Of a swap another part of the same difference, of a set the same values elsewhere.
        change = amounts @ drawn.mT if condition.edit == "set" else difference @ drawn @ drawn.mT
        return _as_long(change, own)

    def _directions(self, target: str) -> Array:
        """Return the directions that a target names, (member, state, variable)."""
        basis = self.codes.basis
        if target in ("own", "pinv"):
            return basis
        if target == "next slot":
            return basis[:, :, self.codes.moved_on()]
        return self._magnitudes[target]

    @cached_property
    def _pseudo_inverse(self) -> Array:
        """Ψ⁺ of each member, (member, variable, state): what misreads where variables share directions."""
        found = np.full_like(self.codes.reader, np.nan)
        found[self.codes.known] = np.linalg.pinv(self.codes.basis[self.codes.known])
        return found

    @cached_property
    def _magnitudes(self) -> Mapping[str, Array]:
        known, found = self.codes.known, {}
        for strength in ("unit", "scalar"):
            found[strength] = np.full_like(self.codes.basis, np.nan)
            found[strength][known] = magnitude_fit(
                self.codes.basis[known], self.codes.positions, self.codes.width, strength
            )
        return found

    def states(self, after: int) -> Array:
        """Return the states of the unedited run after a number of steps, joined, (member, trial, state)."""
        return joined(self.unedited.state(after), self.names)


def moving_names(model: Model) -> list[str]:
    """Return the tensors of a model's state that traces store, of real numbers, in their order."""
    state = model.zero_state(model.like.new_zeros(model.members, 1, 1))
    return [n for n in model.state_dims if n not in model.held_state and state[n].is_floating_point()]


def joined(state: State, names: Sequence[str]) -> NDArray[np.float64]:
    """Return tensors of a state as one, (member, trial, state)."""
    whole = torch.cat([state[name].double().flatten(2) for name in names], dim=2)
    return to_array(whole).astype(np.float64, copy=False)


def moved(state: State, names: Sequence[str], change: Array) -> dict[str, Tensor]:
    """Return tensors of a state with changes (member, trial, state) of all of them, joined, added."""
    parts = torch.tensor(change).split([state[name][0, 0].numel() for name in names], dim=2)
    return {
        name: (state[name].double() + part.to(state[name].device).view_as(state[name])).to(state[name])
        for name, part in zip(names, parts, strict=True)
    }


def random_directions(shape: tuple[int, ...], count: int, generator: np.random.Generator) -> Array:
    """Return orthonormal directions for each member, (member, state, direction), of states of a shape."""
    drawn = generator.standard_normal((shape[0], shape[-1], count))
    return np.asarray(np.linalg.qr(drawn)[0])


def _as_long(change: Array, other: Array) -> Array:
    """Return vectors (…, state) scaled to the lengths of others."""
    length, wanted = (np.linalg.norm(part, axis=-1, keepdims=True) for part in (change, other))
    return np.asarray(change * np.divide(wanted, length, out=np.zeros_like(wanted), where=length > 0))
