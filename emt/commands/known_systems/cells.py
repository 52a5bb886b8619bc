"""Published cells of linear memories whose gates do not depend on their input, so that their steps are known."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from emt.commands.known_systems.answers import Answer, analyse

KEEP, BETA = 0.5, 0.8
TOLERANCE = 1e-4

OPEN = 40.0
"""σ of it is 1 in single precision."""


def constant_gates() -> Iterator[Answer]:
    """Cells with gates of weight zero: each step's smallest eigenvalue follows from their biases.

    A head that keeps α = .5 and only adds (Mamba-2, mLSTM) has α alone. The delta rule with β = .8 has
    α (1 - β) = .1 on its key, whether α is one number (gated DeltaNet) or the same in all channels (KDA). RWKV-7
    with all gates open has w - 1 = exp(-exp(-½)) - 1 = -.4548, the lowest that its step can have, since it keeps
    at least w and takes away at most what it finds. Keys are shorter than 1 by 10⁻⁶ / 2‖k‖², which the
    tolerance allows for.
    """
    expected = {
        "gated_deltanet": KEEP * (1 - BETA),
        "kda": KEEP * (1 - BETA),
        "mamba2": KEEP,
        "mlstm": KEEP,
        "rwkv7": math.exp(-math.exp(-0.5)) - 1,
    }
    for name, eigenvalue in expected.items():
        values = analyse("capacity", {LENGTH: _recording(name)}).transitions
        smallest = min(float(found.min()) for found in values.values())
        largest = max(float(found.max()) for found in values.values())
        yield Answer("capacity", f"{name}: eigenvalue of a step, least", eigenvalue, smallest, TOLERANCE)
        yield Answer("capacity", f"{name}: eigenvalue of a step, most", eigenvalue, largest, TOLERANCE)


LENGTH = 9


def _recording(name: str) -> Any:
    """Return a trace of two members of a model with constant gates."""
    import torch

    from emt.models import MODELS
    from emt.options import load, options_of
    from emt.record import Loaded, record
    from emt.tasks.associative_retrieval import AssociativeRetrieval

    task: Any = AssociativeRetrieval(pairs=3)
    options = {"hidden_dim": 8, "heads": 2, "conv_size": 0, "max_beta": 2 * BETA, "initializer_range": 1.0}
    known = {o.name for o in options_of(MODELS[name])}
    build = load(MODELS, name, "model_type")
    model = build(
        [1, 2],
        task.input_channels,
        task.output_channels,
        **{n: value for n, value in options.items() if n in known},
    )
    with torch.no_grad():
        for parameter, value in _gates(name).items():
            model.get_parameter(f"mixers.0.{parameter}").fill_(value)
    labels: Mapping[str, Any] = {"model": {"type": name}, "task": {}, "experiment": "", "seeds": [1, 2]}
    loaded = Loaded(model.requires_grad_(False), task, (1, 2), labels)
    return record(loaded, task.test_batch(0, LENGTH, 1, 4), LENGTH)


def _gates(name: str) -> dict[str, float]:
    """Return what parameters of a layer's gates are filled with."""
    if name == "mlstm":
        gates = [f"gates.{gate}_{part}" for gate in ("input", "forget") for part in ("weight", "bias")]
        return dict.fromkeys(gates, 0.0)
    if name == "rwkv7":
        return {
            f"gates.{gate}.{n}": x for gate in ("decay", "rate") for n, x in (("inner", 0), ("bias", OPEN))
        }
    # softplus undoes this: e^0 softplus(δ) = -log KEEP.
    bias = math.log(math.expm1(-math.log(KEEP)))
    decay = {"decay.weight": 0.0, "decay.log_rate": 0.0, "decay.bias": bias}
    return decay if name == "mamba2" else decay | {"w_beta": 0.0}
