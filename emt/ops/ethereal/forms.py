"""Networks that write their own weights while they read: each item's weights step by step, and an exact low-rank form.

For each member and batch item, [x, 1] being an input with a one for the bias, which is the last row of W:

    h_t = tanh([c_{t-1}, 1] W_h)                                            (1)
    c⁰_t = [x_t, h_t],  cˡ_t = φ([cˡ⁻¹_t, 1] W_l),  c_t = c^L_t (+ c⁰_t)      (2)
    y_t = [c_t, 1] W_o,  e_t = softmax(y_t) − target_t, or y_t − target_t     (3)

Before the first step there is no c, and h is zero. With k_t the input of a layer and δ_t its error, which the
updater gives, each item's weights are W_t = W + D_t, where D_0 = 0 and

    G_t = k_t δ_tᵀ,  D_{t+1} = E∘D_t − η P∘G_t,                             (4)

P being A and E being 1 − f at plastic entries (mask M), and both one elsewhere. Steps without a target change
nothing. At the end of a sequence what was written is merged, and plastic entries are wiped: W ← (1 − M)∘(W +
mean over items D).

The updaters differ in δ. Feedback alignment (dfa, Nøkland 2016): δ = e B for a fixed random B, times φ' if
asked for, and δ = e for the output. ``backprop``: the gradient of the loss of step t, c_{t-1} being a
constant, so that W_h is reached and nothing before. ``bptt``: the same without that cut; then G_t is a sum
over the steps so far.

The low-rank form never builds D. With c_ts = (1 − f)^(steps with a target between s and t), a layer's output
is

    k_t W − η Σ_{s<t} δ_s ∘ [k_s·k_t + (k_s∘k_t)(M∘(A c_ts − 1))]              (5)

and what flows back through it d Wᵀ − η Σ_{s<t} k_s ∘ [δ_s·d + (δ_s∘d)(M∘(A c_ts − 1))ᵀ].                        (6)
"""

from collections.abc import Sequence

from torch import Tensor

from emt.ops.ethereal.dense import ethereal_steps
from emt.ops.ethereal.low_rank import ethereal_low_rank
from emt.ops.ethereal.network import EtherealRun, Layer, Network, Rule, Start, Updater, has_target
from emt.ops.memory_edit import MemoryEdit

__all__ = [
    "EtherealRun",
    "Layer",
    "Network",
    "Rule",
    "Start",
    "Updater",
    "ethereal",
    "ethereal_low_rank",
    "ethereal_steps",
    "has_target",
]

LONGEST = 256
"""Steps up to which the low-rank form, whose cost grows with their square, is the faster one, at any width."""


def ethereal(
    network: Network,
    rule: Rule,
    x: Tensor,
    targets: Tensor | None = None,
    start: Start | None = None,
    edits: Sequence[MemoryEdit | None] = (),
) -> EtherealRun:
    """Run networks over a sequence in which they learn, in the form that is faster.

    Parameters
    ----------
    network
        The layers.
    rule
        How they learn.
    x
        Inputs (member, batch, time, channel).
    targets
        Ids of classes (member, batch, time), -1 if there is none, for the cross entropy; or vectors (member,
        batch, time, output), NaN if there is none, for half the squared distance. Without them nothing is
        learnt, and the outputs are differentiable by all arguments.
    start
        State from which the sequence continues; None at its beginning, which costs nothing.
    edits
        What is changed of each layer's writes and reads; none: nothing.
    """
    if any(edit is not None for edit in edits):
        return ethereal_steps(network, rule, x, targets, start, edits)
    plain = not (rule.grad_clip or rule.clip_weights or rule.normalize or rule.compatibility)
    low_rank = (
        plain and rule.updater != "bptt" and targets is not None and start is None and x.shape[2] <= LONGEST
    )
    return (ethereal_low_rank if low_rank else ethereal_steps)(network, rule, x, targets, start)
