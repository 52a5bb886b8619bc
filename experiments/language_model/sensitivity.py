"""How much does rounding alone change a training? Each network beside one whose first weights differ by 1e-7 of them.

The networks are those of the small comparison, the first seeds of each. ``gain`` is what layer normalisation multiplies
differences of a read by, the root mean square over reads of 1 / sqrt(variance + epsilon); it is 1 for networks without
memory. A gradient is as long as it is before it is clipped.
"""

import sys
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from emt.commands.output import open_console
from emt.commands.script import run_script
from emt.config import RunConfig
from emt.models.fwm_memory import WithFastWeights
from emt.options import Option
from emt.progress import Progress
from emt.training.chunk import build
from emt.training.optimizer import member_norms
from emt.training.stack import Stack
from experiments.command_line import Count, build_parser, values_of
from experiments.language_model.configs import LABELS, SMALL
from experiments.language_model.sweep import TEXT, with_text

LENGTH = (
    Option("training_steps", Count, 50, "steps of training that both networks do"),
    Option("num_models", Count, 3, "networks of each kind"),
)

CHANGE = 1e-7
"""Standard deviation of the change of a weight, as a share of it: about the last digit of float32."""


class Sensitivity(NamedTuple):
    """How two trainings from nearly the same weights part, (member,) each.

    Attributes
    ----------
    gain
        Of the layer normalisation of reads, at the first step.
    gradient
        Length of the gradient at the first step.
    apart
        Distance between the weights after the last step, as a share of their length; `CHANGE` before the first.
    loss
        Largest difference between losses of the same step.
    """

    gain: NDArray[np.float64]
    gradient: NDArray[np.float64]
    apart: NDArray[np.float64]
    loss: NDArray[np.float64]


def main(arguments: list[str] | None = None) -> int:
    """Parse, train, print; return the exit code."""
    from rich.table import Table

    groups = {"text": TEXT, "length": LENGTH}
    given = vars(
        build_parser("experiments.language_model.sensitivity", __doc__, groups).parse_args(arguments)
    )
    text, length = values_of(TEXT, given, "task words", partial=True), values_of(LENGTH, given, "length")
    names = ("", "ε", "seed", "gain", "gradient", "weights apart", "losses apart")
    title = f"after {length['training_steps']} steps; weights are {CHANGE:.0e} apart before the first"
    table = Table(*names, title=title, box=None)
    for config in SMALL:
        config = with_text(config, text)
        chosen = tuple(range(1, 1 + min(length["num_models"], config.training.num_models)))
        found = sensitivity(config, chosen, length["training_steps"])
        epsilon = config.model.get("norm_epsilon")
        for member, number in enumerate(chosen):
            table.add_row(
                LABELS[config.model_type],
                "" if epsilon is None else f"{epsilon:g}",
                str(config.training.seeds()[number - 1]),
                f"{found.gain[member]:.3g}",
                f"{found.gradient[member]:.3g}",
                f"{found.apart[member]:.1e}",
                f"{found.loss[member]:.1e}",
            )
    open_console(width=max(open_console().width, 100), soft_wrap=False).print(table)
    return 0


def sensitivity(config: RunConfig, numbers: tuple[int, ...], steps: int) -> Sensitivity:
    """Train members of a run twice, from weights that differ by `CHANGE` of them, and return how they part."""
    stack, twin = build(config, numbers), build(config, numbers)
    change(twin, CHANGE)
    gain, gradient, loss = gain_of(stack), np.zeros(0), np.zeros(len(numbers))
    with Progress(config.metadata["experiment_name"], steps) as progress:
        for done in range(steps):
            reports = [one.gradients() for one in (stack, twin)]
            loss = np.maximum(loss, np.abs(reports[0].loss - reports[1].loss))
            for one, report in zip((stack, twin), reports, strict=True):
                one.optimizer.step()
                one.advance(report)
            if not done:
                gradient = stack.norms()["grad_norm"]
            progress.update(done + 1)
    pairs = zip(stack.model.parameters(), twin.model.parameters(), strict=True)
    apart = member_norms((a.detach() - b.detach()).double() for a, b in pairs).numpy()
    return Sensitivity(gain, gradient, apart / stack.norms()["weight_norm"], loss)


@torch.no_grad()
def change(stack: Stack, share: float) -> None:
    """Multiply each weight by 1 + share · z, z from N(0, 1)."""
    generator = torch.Generator().manual_seed(0)
    for weights in stack.model.parameters():
        weights.mul_(1 + share * torch.randn(weights.shape, generator=generator, dtype=weights.dtype))


@torch.no_grad()
def gain_of(stack: Stack) -> NDArray[np.float64]:
    """Return the gain of reads on the first training batch, (member,)."""
    model, everyone = stack.model, list(range(len(stack.numbers)))
    if not isinstance(model, WithFastWeights):
        return np.ones(len(everyone))
    [(shape, _)] = stack.forward.groups("train", 0, dict.fromkeys(everyone, 1)).items()
    model.noise_step = 0
    _, log = stack.forward(everyone, stack.forward.batch(everyone, "train", 0, shape), {})
    model.noise_step = None
    variance = log["memory/fwm/read_value"].double().var(dim=-1, correction=0)
    return np.asarray((1 / (variance + model.epsilon)).flatten(1).mean(1).sqrt())


if __name__ == "__main__":
    sys.exit(run_script("sensitivity", main))
