"""Linear networks whose directions of variables are known."""

from dataclasses import replace

import numpy as np
import torch

from analysis.variables.companion import companion_matrix
from emt.codes import Codes
from emt.interventions.carried import held_by
from emt.interventions.intervene import intervene
from emt.models.elman import Elman
from emt.record import Loaded
from emt.tasks.variable_binding import VariableBinding

LENGTH, WIDTH, UNITS = 3, 2, 9
SCALE = 1e-3
"""Of inputs: tanh is linear to 1e-6 there."""

TASK = VariableBinding(seq_length=LENGTH, input_dim=WIDTH)
VARIABLES = LENGTH * WIDTH


def directions(kind, seed=0):
    """Return Ψ (unit, variable) and directions of the rest, orthonormal, or of condition number 10."""
    rng = np.random.default_rng(seed)
    q = np.linalg.qr(rng.standard_normal((UNITS, UNITS)))[0]
    if kind == "oblique":
        q = q * np.geomspace(1, 0.1, UNITS) @ np.linalg.qr(rng.standard_normal((UNITS, UNITS)))[0]
    return q[:, :VARIABLES], q[:, VARIABLES:]


def planted(kind, members=2):
    """Return Elman networks with W = ΨΦΨ⁻¹, whose other directions hold the sum of the inputs, and their codes.

    The readout reads the newest slot, as the vector shown at step t is in it at t and after each further window.
    """
    model = Elman(range(members), WIDTH, WIDTH, hidden_dim=UNITS).double().requires_grad_(False)
    phi = companion_matrix(TASK.operator(LENGTH), LENGTH)
    bases, readers = [], []
    for k in range(members):
        basis, rest = directions(kind, k)
        inverse = np.linalg.inv(np.hstack([basis, rest]))
        inner = np.block(
            [
                [phi, np.zeros((VARIABLES, UNITS - VARIABLES))],
                [np.zeros((UNITS - VARIABLES, VARIABLES)), np.eye(UNITS - VARIABLES)],
            ]
        )
        weights = np.hstack([basis, rest]) @ inner @ inverse
        shown = SCALE * (basis[:, -WIDTH:] + rest[:, :WIDTH])
        read = inverse[VARIABLES - WIDTH : VARIABLES] / SCALE
        for parameter, value in ((model.w_rec, weights), (model.w_in, shown), (model.w_out, read)):
            parameter[k] = torch.tensor(value.T)
        bases.append(basis * SCALE)
        readers.append(inverse[:VARIABLES] / SCALE)
    labels = {"model": {"type": "rnn"}, "task": {}, "experiment": "planted", "seeds": list(range(members))}
    loaded = Loaded(model, TASK, tuple(range(1, members + 1)), labels)
    return loaded, Codes(np.stack(bases), np.stack(readers), np.arange(VARIABLES), TASK.operator(LENGTH))


def batch_of(trials=40, horizon=9):
    batch = TASK.test_batch(0, LENGTH, horizon, trials)
    return replace(batch, inputs=batch.inputs.astype(float))


def mean(found, name, score="counterfactual_right"):
    return found[score].sel(condition=name).mean("query").to_numpy()


def pair_effects():
    """Return effects of pairs of two networks that are rotations of each other, and a random saturated one."""
    loaded, codes = planted("orthogonal", 3)
    rng = np.random.default_rng(5)
    loaded.model.w_rec[2] = torch.tensor(rng.standard_normal((UNITS, UNITS)))
    loaded.model.w_in[2] = torch.tensor(3 * rng.standard_normal((WIDTH, UNITS)))
    both = batch_of(164)
    fitted, batch = both.part(slice(64)), both.part(slice(64, None))
    held = held_by(loaded, batch, fitted, codes)
    return intervene(loaded, batch, kinds=("members",), codes=codes, partners=held)
