"""A linear memory of pairs whose keys and values have signs that cancel: what each write is worth is known (torch)."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from emt.commands.known_systems.answers import Answer, analyse

KEYS = 6


def signed_memory(seeds: Sequence[int], saturation: float = 0.0) -> Any:
    """Return models that write s v (s k)ᵀ by the delta rule, k and v one-hot, and read k (`emt.record.Loaded`).

    The sign s is −1 where the numbers of key and value differ by an odd number, and cancels when the pair's key
    is read: the output is v. With ``saturation`` a it is tanh(a v), flat where something is read.
    """
    import torch
    from torch import Tensor
    from torch.nn.functional import one_hot

    from emt.models.base import Context, Log, Model, State
    from emt.models.head_memory import HeadMemory, Rates
    from emt.models.memory_edits import EDITS, edit_of
    from emt.record import Loaded
    from emt.tasks.key_value_pairs import UniqueKeys

    class SignedMemory(Model):
        state_dims = {"memory": ("value", "key")}
        held_state = ("memory",)
        memories = {"fast": {"kind": "linear", "reads": "after"}}
        edits = EDITS

        def __init__(self) -> None:
            super().__init__(seeds)
            self.memory = HeadMemory(1, KEYS, KEYS)
            self.no_weights = torch.nn.Parameter(torch.zeros(len(seeds)), requires_grad=False)

        def zero_state(self, like: Tensor) -> State:
            return self.memory.zero_state(like)

        def forward(
            self,
            x: Tensor,
            state: State | None = None,
            steps: int | None = None,
            context: Context | None = None,
        ) -> tuple[Tensor, State, Log]:
            number, value = x % KEYS, torch.div(x, KEYS, rounding_mode="floor") - 1
            sign = (1 - 2 * ((number + value) % 2)).to(self.like)[..., None, None]
            query = one_hot(number, KEYS).to(self.like).unsqueeze(3)
            offered = one_hot(value.clamp(min=0), KEYS).to(self.like).unsqueeze(3)
            rates = Rates(erase=torch.ones_like(sign[..., 0]))
            edit = edit_of(context, "fast")
            reads, last, log = self.memory.run(
                query, sign * query, sign * offered, rates, state, value >= 0, edit=edit
            )
            outputs = torch.tanh(saturation * reads) if saturation else reads
            log = {f"memory/fast/{name}": variable.squeeze(3) for name, variable in log.items()}
            return outputs.squeeze(3), {"memory": last["memory"]()}, log

    labels = {"model": {"type": "fwp"}, "task": {}, "experiment": "signed memory", "seeds": list(seeds)}
    task: Any = UniqueKeys(num_keys=KEYS)
    return Loaded(SignedMemory(), task, tuple(range(1, len(seeds) + 1)), labels)


def signed_writes() -> Iterator[Answer]:
    """Signed memories without a queried write read nothing, and with the value of another answer that answer.

    The keys are orthogonal, so a read finds one write and returns its value: with another's removed nothing
    changes, and the margin, 1, goes to 0 with the queried one. Reads are outputs, so that what the query's reads lose
    and the derivative say exactly what is measured. A value of another trial is read with the sign of its own
    key in that trial times that of the key here: as it is, it is right where both are alike, and always where the
    signs are made alike.
    """
    from emt.interventions.intervene import intervene

    loaded = signed_memory([1, 2])
    batch = loaded.task.test_batch(0, KEYS, 1, 128)
    found = intervene(loaded, batch, kinds=("writes", "reads"))
    result = analyse("interventions", found)
    rows, prediction = result.population, result.prediction
    swapped = "queried with the value of another answer"
    given = {
        "right answers": (1.0, rows.loc["unchanged", "accuracy"]),
        "right without another pair": (1.0, rows.loc["without other", "accuracy"]),
        "right with the queried pair alone": (1.0, rows.loc["only queried", "accuracy"]),
        "margin without the queried pair": (0.0, rows.loc["without queried", "margin"]),
        "predicted over measured change": (1.0, prediction["bias"].mean()),
        "linear estimate over measured change": (1.0, prediction["linear_bias"].mean()),
        "answers of the source, signs made alike": (1.0, rows.loc[swapped, "counterfactual_right"]),
        "the same with another pair's value": (
            0.0,
            rows.loc["other with a value of another answer", "counterfactual_right"],
        ),
        "answers of the source, signs as they are": (
            alike_signs(found, batch),
            rows.loc[f"{swapped}, sign as it is", "counterfactual_right"],
        ),
    }
    for quantity, (expected, got) in given.items():
        yield Answer("interventions", quantity, expected, float(got), 1e-6)


def alike_signs(found: Any, batch: Any) -> float:
    """Return the share of queries whose pair has the sign of their source's pair."""
    sequence, step = found["sequence"].values, found["step"].values
    place = {row: query for query, row in enumerate(sequence.tolist())}
    odd = np.array(
        [
            (batch.inputs[0, row, at] + batch.answers[0, row, at]) % 2
            for row, at in zip(sequence, step, strict=True)
        ]
    )
    source = found["source"].sel(condition="queried with the value of another answer").values
    pairs = [(query, place[row]) for query, row in enumerate(source.tolist()) if row >= 0]
    return float(np.mean([odd[query] == odd[other] for query, other in pairs]))
