"""Members as a recording has them."""

import numpy as np
import xarray as xr

from analysis.evaluation.from_recording import recorded_members
from emt.commands.known_systems.recordings import plant_states


def test_the_value_that_a_critic_puts_behind_its_choices_is_no_output():
    recording = plant_states(np.random.default_rng(0).normal(size=(2, 3, 4, 5)))
    # One target at each step, and behind the output for it what a critic says.
    outputs = np.arange(2 * 3 * 4 * 2.0).reshape(2, 3, 4, 2)
    values = xr.DataArray(outputs, dims=recording["outputs"].dims)
    with_critic = xr.DataTree(recording.to_dataset().drop_vars("outputs").assign(outputs=values))
    for place, member in enumerate(recorded_members(with_critic)):
        np.testing.assert_array_equal(member.outputs, outputs[place, ..., :1])
