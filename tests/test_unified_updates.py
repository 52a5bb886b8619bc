"""The one path of updates that feedback alignment, step-wise backprop and BPTT share, against the equations on paper.

Also a script: ``python tests/test_unified_updates.py``. UNIFIED_UPDATES.md has the equations.
"""

import sys
from math import erf, exp, pi, sqrt
from pathlib import Path

if __name__ == "__main__":
    # A script's own folder comes first, and the folder of the tests of `emt` there is called as the package is.
    sys.path[0] = str(Path(__file__).parents[1])

import numpy as np
import pytest
import torch
from torch.nn.functional import gelu, one_hot

from emt.models.ethereal import EtherealRNN
from emt.models.ethereal_rnn import SimpleRNN
from emt.ops.ethereal import dense
from emt.ops.ethereal import forms as operation

SEEDS, BATCH, TIME, SYMBOLS, UNITS, LAYERS = (11, 1011), 3, 5, 4, 6, 2
ETA, PLASTICITY, FORGET, SHARE = 0.05, 30.0, 0.1, 0.3
UPDATERS = ("dfa", "backprop", "bptt")
LAST = ("output", "critic")

every_updater = pytest.mark.parametrize("updater", UPDATERS)


def build(kind=EtherealRNN, seeds=SEEDS, **options):
    """A model in float64 away from its initial weights, its plastic entries empty as after every wipe."""
    plastic = {
        "residual_connection": True,
        "plast_clip": PLASTICITY,
        "forget_rate": FORGET,
        "plast_proportion": SHARE,
        "eta": ETA,
    }
    given = {"hidden_dim": UNITS, "layers": LAYERS, **(plastic if kind is EtherealRNN else {}), **options}
    model = kind(seeds, SYMBOLS, SYMBOLS, **given).double()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "plasticity" in name:
                continue
            noise = torch.randn(parameter.shape[1:], generator=generator, dtype=torch.float64)
            parameter += 0.3 * noise
            mask = getattr(model, name.replace("_weight", "_mask"), None)
            if name.endswith("_weight") and mask is not None:
                parameter *= 1 - mask[:, :-1]
    return model


def draw(seed=0, padded=True):
    """Strings and what follows each character; some end early."""
    ids = torch.from_numpy(np.random.default_rng(seed).integers(0, SYMBOLS, (len(SEEDS), BATCH, TIME + 1)))
    inputs, targets = ids[:, :, :-1].clone(), ids[:, :, 1:].clone()
    if padded:
        inputs[1, 2, 3:], targets[1, 2, 3:] = -1, -1
        targets[0, 1, 2] = -1
    return inputs, targets


def run(model, inputs, targets):
    """Outputs, and the gradients that the model gives its parameters."""
    outputs, _, log = model(inputs, None, None, {"targets": targets})
    return outputs, {n.removeprefix("gradient/"): g for n, g in log.items() if n.startswith("gradient/")}


class Paper:
    """One item of one member: the equations as they stand, on a weight file, gradients by autograd."""

    def __init__(self, model, member, rectifies=False):
        self.rule, self.width, self.rectifies = model.rule, model.width, rectifies
        self.names = [place for place in model.places if place != "recurrence"]
        self.recurs = "recurrence" in model.places
        self.weight, self.bias, self.mask, self.feedback = {}, {}, {}, {}
        for place in model.places:
            self.weight[place] = getattr(model, f"{place}_weight")[member].T.detach().clone()
            self.bias[place] = getattr(model, f"{place}_bias")[member].detach().clone()
            mask = getattr(model, f"{place}_mask", None)
            self.mask[place] = torch.zeros_like(self.weight[place]) if mask is None else mask[member, :-1].T
            feedback = getattr(model, f"{place}_feedback", None)
            self.feedback[place] = None if feedback is None else feedback[member]
        self.plasticity = getattr(model, "plast_clip", 1.0)
        self.units = self.weight["recurrence"].shape[0] if self.recurs else UNITS
        self.history = []
        self.total = {
            p: [torch.zeros_like(self.weight[p]), torch.zeros_like(self.bias[p])] for p in model.places
        }

    def step(self, weight, bias, symbol, c):
        x = one_hot(torch.tensor(symbol), SYMBOLS).double() if symbol >= 0 else torch.zeros(SYMBOLS).double()
        h = torch.zeros(self.units).double()
        self.key, self.before = {}, {}
        if self.recurs and c is not None:
            self.key["recurrence"], self.before["recurrence"] = (
                c,
                weight["recurrence"] @ c + bias["recurrence"],
            )
            h = torch.tanh(self.before["recurrence"])
        first = c = torch.cat([x, h])
        for place in self.names[:-1]:
            self.key[place], self.before[place] = c, weight[place] @ c + bias[place]
            c = torch.relu(self.before[place]) if self.rectifies else gelu(self.before[place])
        c = c + first if self.rule.residual else c
        self.key["output"] = c
        return weight["output"] @ c + bias["output"], c

    def aligned(self, outputs, target):
        """G of feedback alignment."""
        error = torch.softmax(outputs, dim=0) - one_hot(torch.tensor(target), SYMBOLS)
        gradients = {}
        for place, key in self.key.items():
            delta = error if self.feedback[place] is None else error @ self.feedback[place]
            if self.rule.derivative and place == "recurrence":
                delta = delta / torch.cosh(self.before[place]) ** 2
            elif self.rule.derivative and self.rectifies and place != "output":
                delta = delta * (self.before[place] > 0)
            elif self.rule.derivative and place != "output":
                phi = [
                    (1 + erf(z / sqrt(2))) / 2 + z * exp(-z * z / 2) / sqrt(2 * pi)
                    for z in self.before[place].tolist()
                ]
                delta = delta * torch.tensor(phi, dtype=torch.float64)
            gradients[place] = torch.outer(delta, key), delta
        return gradients

    def run(self, inputs, targets):
        """Return outputs (time, output); the sum of G is left in ``total``."""
        outputs, c, used = [], None, []
        weight, bias = ({p: w.clone() for p, w in d.items()} for d in (self.weight, self.bias))
        for symbol, target in zip(inputs.tolist(), targets.tolist(), strict=True):
            leaves = [{p: w.detach().clone().requires_grad_() for p, w in d.items()} for d in (weight, bias)]
            used.append(leaves)
            carried = c if c is None or self.rule.updater == "bptt" else c.detach()
            y, c = self.step(*leaves, symbol, carried)
            outputs.append(y.detach())
            if target < 0:
                continue
            if self.rule.updater == "dfa":
                gradients = self.aligned(y.detach(), target)
            else:
                loss = -torch.log_softmax(y, dim=0)[target]
                reached = used if self.rule.updater == "bptt" else used[-1:]
                gradients = {}
                for place in weight:
                    wanted = [kind[place] for step in reached for kind in step]
                    found = torch.autograd.grad(loss, wanted, retain_graph=True, allow_unused=True)
                    found = [
                        torch.zeros_like(w) if g is None else g for g, w in zip(found, wanted, strict=True)
                    ]
                    gradients[place] = sum(found[::2]), sum(found[1::2])
            self.history.append(gradients)
            for place, (g, g_bias) in gradients.items():
                self.total[place][0] += g.detach()
                self.total[place][1] += g_bias.detach()
                if not self.rule.writes:
                    continue
                plastic = (1 - self.rule.forget_rate) * (weight[place] - self.weight[place])
                plastic = self.weight[place] + plastic - self.rule.eta * self.plasticity * g.detach()
                slow = weight[place] - self.rule.eta * g.detach()
                weight[place] = torch.where(self.mask[place] > 0, plastic, slow)
                bias[place] = bias[place] - self.rule.eta * g_bias.detach()
        return torch.stack(outputs)


def on_paper(model, inputs, targets):
    """Outputs and slow gradients of a model by `Paper`, item after item."""
    outputs = torch.zeros(*inputs.shape, SYMBOLS).double()
    gradients = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    for member, item in np.ndindex(inputs.shape[:2]):
        paper = Paper(model, member, rectifies=isinstance(model, SimpleRNN))
        outputs[member, item] = paper.run(inputs[member, item].detach(), targets[member, item])
        for place, (g, g_bias) in paper.total.items():
            gradients[f"{place}_weight"][member] += ((1 - paper.mask[place]) * g).T / inputs.shape[1]
            gradients[f"{place}_bias"][member] += g_bias / inputs.shape[1]
    return outputs, gradients


def differ(one, other):
    return max((one[name] - other[name]).abs().max().item() for name in other)


SETTINGS = [
    {},
    {"residual_connection": False, "enable_recurrence": False},
    {"residual_connection": False, "derivative": True},
]


@every_updater
@pytest.mark.parametrize("longest", [0, 256], ids=["dense", "low_rank"])
@pytest.mark.parametrize("options", SETTINGS, ids=["all", "bare", "derivative"])
def test_ethereal_follows_the_equations(monkeypatch, updater, options, longest):
    monkeypatch.setattr(operation, "LONGEST", longest)
    model, (inputs, targets) = build(updater=updater, **options), draw()
    outputs, gradients = run(model, inputs, targets)
    expected, slow = on_paper(model, inputs, targets)
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-12)
    assert set(gradients) == set(slow)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, slow[name], rtol=0, atol=1e-12)
    for name in (n for n, _ in model.named_parameters() if n.endswith("weight")):
        mask = getattr(model, name.replace("_weight", "_mask"), None)
        assert gradients[name].abs().max() > 1e-4, "recurrent weights learn too"
        assert mask is None or not gradients[name][mask[:, :-1] > 0].any(), "plastic entries are wiped"


@every_updater
@pytest.mark.parametrize(
    "options", [{}, {"enable_recurrence": False, "derivative": True}], ids=["all", "derivative"]
)
def test_the_plain_network_follows_the_equations(updater, options):
    model, (inputs, targets) = build(SimpleRNN, updater=updater, **options), draw()
    outputs, gradients = run(model, inputs, targets)
    expected, slow = on_paper(model, inputs, targets)
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-12)
    assert differ(gradients, slow) < 1e-12


@every_updater
@pytest.mark.parametrize("longest", [0, 256])
def test_vectors_are_learnt_by_their_squared_distance(monkeypatch, updater, longest):
    monkeypatch.setattr(operation, "LONGEST", longest)
    model, (inputs, _) = build(updater=updater), draw(padded=False)
    generator = torch.Generator().manual_seed(1)
    vectors = torch.randn(*inputs.shape, SYMBOLS, generator=generator, dtype=torch.float64)
    vectors[:, :, 1:] = torch.nan
    vectors[:, 2] = torch.nan
    outputs, gradients = run(model, inputs, vectors)
    still = model(inputs)[0]
    loss = (still - torch.where(vectors.isnan(), still, vectors)).square().sum() / 2 / BATCH
    names = [n for n, _ in model.named_parameters() if updater != "dfa" or n.startswith("output")]
    found = torch.autograd.grad(loss, [getattr(model, n) for n in names], allow_unused=True)
    for name, gradient in zip(names, found, strict=True):
        mask = getattr(model, name.replace("_weight", "_mask"), None) if name.endswith("weight") else None
        expected = torch.zeros_like(gradients[name]) if gradient is None else gradient
        expected = expected if mask is None else expected * (1 - mask[:, :-1])
        torch.testing.assert_close(gradients[name], expected, rtol=0, atol=1e-12)
    changed = (outputs - still).abs().amax(dim=(2, 3)) > 1e-6
    assert changed.tolist() == [[True, True, False]] * len(SEEDS), "items without a target stay as they are"


def test_the_updaters_are_not_the_same():
    inputs, targets = draw()
    results = [run(build(updater=updater), inputs, targets)[0] for updater in UPDATERS]
    for i, one in enumerate(results):
        assert all((one - other).abs().max() > 1e-2 for other in results[i + 1 :])


def test_backprop_reaches_one_step_back_and_bptt_all_the_way():
    inputs, targets = draw(padded=False)
    targets[:, :, :-1] = -1
    reach = {}
    for updater in ("backprop", "bptt"):
        model = build(updater=updater)
        _, gradients = run(model, inputs, targets)
        loss = torch.nn.functional.cross_entropy(
            model(inputs)[0][:, :, -1].transpose(1, 2), targets[:, :, -1]
        )
        loss = loss * len(SEEDS)
        found = torch.autograd.grad(loss, list(model.parameters()))
        whole = {n: g for (n, _), g in zip(model.named_parameters(), found, strict=True)}
        for name, gradient in whole.items():
            mask = getattr(model, name.replace("_weight", "_mask"), None) if name.endswith("weight") else None
            gradient *= 1 if mask is None else 1 - mask[:, :-1]
        reach[updater] = differ(gradients, whole), whole["output_weight"] - gradients["output_weight"]
    assert reach["bptt"][0] < 1e-12
    assert reach["backprop"][0] > 1e-4
    assert reach["backprop"][1].abs().max() < 1e-12, "the last step's own layers have their whole gradient"


@every_updater
def test_without_plasticity_there_is_no_fast_memory(updater):
    inputs, targets = draw()

    def memory(**options):
        """How far outputs are from those of weights that stand still."""
        model = build(updater=updater, eta=1e-4, **options)
        return (run(model, inputs, targets)[0] - model(inputs)[0]).abs().max().item()

    fast = memory(plast_clip=1e4)
    assert fast > 0.1
    assert memory(plast_clip=1.0) < 0.01 * fast
    assert memory(plast_clip=1e4, plast_proportion=0.0) < 0.01 * fast


@every_updater
def test_forgetting_makes_the_memory_smaller(updater):
    inputs, targets = draw(padded=False)
    targets[:, :, 1:] = torch.where(torch.arange(TIME - 1) < 2, targets[:, :, 1:], -1)

    def held(rate, until):
        model = build(updater=updater, forget_rate=rate, enable_recurrence=False)
        state = model(inputs[:, :, :until], None, None, {"targets": targets[:, :, :until]})[1]
        return state["fast_layer_1"] * model.layer_1_mask.mT[:, None]

    assert (held(0.5, 3) - held(0.0, 3)).abs().max() > 1e-2
    torch.testing.assert_close(held(0.5, 3), held(0.5, TIME), rtol=0, atol=0)
    torch.testing.assert_close(held(0.5, 1), held(0.0, 1), rtol=0, atol=1e-12)


@every_updater
@pytest.mark.parametrize("longest", [0, 256])
def test_padding_is_outside_every_mean(monkeypatch, updater, longest):
    monkeypatch.setattr(operation, "LONGEST", longest)
    model, (inputs, targets) = build(updater=updater), draw(padded=False)
    outputs, gradients = run(model, inputs, targets)
    nothing = torch.full((*inputs.shape[:2], 4), -1)
    longer, same = run(model, *(torch.cat([ids, nothing], dim=2) for ids in (inputs, targets)))
    torch.testing.assert_close(longer[:, :, :TIME], outputs, rtol=0, atol=1e-12)
    assert differ(same, gradients) < 1e-12
    _, other = run(model, *(torch.cat([ids, 0 * nothing], dim=2) for ids in (inputs, targets)))
    assert differ(other, gradients) > 1e-3


@every_updater
def test_items_learn_by_themselves_and_are_averaged(updater):
    model, (inputs, targets) = build(updater=updater), draw()
    outputs, gradients = run(model, inputs, targets)
    alone = [run(model, inputs[:, [i]], targets[:, [i]]) for i in range(BATCH)]
    torch.testing.assert_close(torch.cat([o for o, _ in alone], dim=1), outputs, rtol=0, atol=1e-12)
    assert differ({n: sum(g[n] for _, g in alone) / BATCH for n in gradients}, gradients) < 1e-12


@every_updater
def test_a_member_that_explodes_leaves_the_others_alone(updater):
    (inputs, targets), clean, wild = draw(), build(updater=updater), build(updater=updater)
    with torch.no_grad():
        wild.layer_1_weight[0] *= 1e200
        wild.output_weight[0] *= 1e200
    (a, g), (b, h) = run(clean, inputs, targets), run(wild, inputs, targets)
    assert not torch.isfinite(b[0]).all()
    assert torch.equal(a[1], b[1])
    assert all(torch.equal(g[name][1], h[name][1]) for name in g)


@every_updater
@pytest.mark.parametrize("longest", [0, 256])
def test_the_gradient_of_plasticity_is_the_product_of_successive_terms(monkeypatch, updater, longest):
    monkeypatch.setattr(operation, "LONGEST", longest)
    model, (inputs, targets) = build(updater=updater, plast_learning_rate=0.2), draw()
    _, gradients = run(model, inputs, targets)
    for place in ("layer_1", "layer_2", "recurrence"):
        expected = torch.zeros_like(gradients[f"{place}_plasticity"])
        for member, item in np.ndindex(inputs.shape[:2]):
            paper = Paper(model, member)
            paper.run(inputs[member, item], targets[member, item])
            trace = 0.0
            for terms in paper.history:
                expected[member] -= (
                    ETA / BATCH * (trace * paper.mask[place] * terms.get(place, [0 * paper.mask[place]])[0]).T
                )
                trace = (1 - FORGET) * trace + terms.get(place, [0.0])[0]
        assert expected.abs().max() > 1e-5
        torch.testing.assert_close(gradients[f"{place}_plasticity"], 0.2 / ETA * expected, rtol=0, atol=1e-12)


def test_the_gradient_of_plasticity_is_that_of_the_loss_a_write_later():
    model = build(updater="backprop", plast_learning_rate=0.2, enable_recurrence=False)
    inputs, targets = (ids[:, :, :2] for ids in draw(padded=False))
    _, gradients = run(model, inputs, targets)
    key, value = model.layer_2_mask[0].nonzero()[7].tolist()

    def loss(change):
        with torch.no_grad():
            model.layer_2_plasticity[0, key, value] += change
            outputs = model(inputs, None, None, {"targets": targets})[0]
            model.layer_2_plasticity[0, key, value] -= change
        return torch.nn.functional.cross_entropy(outputs[0, :, 1], targets[0, :, 1]).item()

    slope = (loss(1e-3) - loss(-1e-3)) / 2e-3
    assert abs(slope) > 1e-6
    assert gradients["layer_2_plasticity"][0, key, value].item() * ETA / 0.2 == pytest.approx(slope, rel=1e-5)


@every_updater
@pytest.mark.parametrize("longest", [0, 256], ids=["dense", "low_rank"])
def test_the_residual_connection_stands_once_after_the_last_layer(monkeypatch, updater, longest):
    """With W_1 = 0 the last layer sees gelu(0) = 0, so that c = c⁰ = [x, h]; added after each layer it saw c⁰."""
    monkeypatch.setattr(operation, "LONGEST", longest)
    model, (inputs, targets) = (
        build(updater=updater, enable_recurrence=False, plast_proportion=0.0),
        draw(padded=False),
    )
    with torch.no_grad():
        for parameter in (model.layer_1_weight, model.layer_1_bias, model.layer_2_bias, model.output_bias):
            parameter.zero_()
    first, rows = one_hot(inputs[:, :, 0], SYMBOLS).double(), model.output_weight.detach()[:, :SYMBOLS]
    outputs, _ = run(model, inputs, targets)
    torch.testing.assert_close(outputs[:, :, 0], first @ rows, rtol=0, atol=1e-12)
    after_each = gelu(first @ model.layer_2_weight.detach()[:, :SYMBOLS]) @ model.output_weight.detach()
    assert after_each.abs().max() > 1e-2, "what would come on top"


@pytest.mark.parametrize("longest", [0, 256], ids=["dense", "low_rank"])
def test_errors_pass_by_the_inner_layers_to_the_recurrence_and_not_to_the_first_layer(monkeypatch, longest):
    """With W_2 = 0 nothing flows back through layer 2: the way around leads to c⁰, not to the output of layer 1."""
    monkeypatch.setattr(operation, "LONGEST", longest)
    model, (inputs, targets) = build(updater="backprop", plast_clip=1.0, eta=1e-9), draw(padded=False)
    with torch.no_grad():
        model.layer_2_weight.zero_()
    _, gradients = run(model, inputs, targets)
    # What is written in between is of the order of η.
    assert gradients["layer_1_weight"].abs().max() < 1e-6
    for name in ("layer_2_weight", "recurrence_weight"):
        assert gradients[name].abs().max() > 1e-3
    around, _ = run(model, inputs, targets)
    assert (around - run(build(updater="backprop"), inputs, targets)[0]).abs().max() > 1e-3


class Published:
    """The published program on one batch of one member, from its description: a matrix for each item, shared biases."""

    def __init__(self, model, member, normalize):
        self.rule, self.normalize, self.places = model.rule, normalize, model.places
        self.weight = {
            p: getattr(model, f"{p}_weight")[member].T.detach().repeat(BATCH, 1, 1) for p in model.places
        }
        self.bias = {p: getattr(model, f"{p}_bias")[member].detach().clone() for p in model.places}
        self.mask = {p: getattr(model, f"{p}_mask")[member, :-1].T > 0 for p in model.places}
        self.clip, self.units = model.plast_clip, UNITS
        self.gain, self.forget, self.feedback = {}, {}, {}
        for p in model.places:
            self.gain[p] = self.scale(p)
            self.forget[p] = self.rule.forget_rate * self.mask[p].double()
            self.feedback[p] = None if p in LAST else getattr(model, f"{p}_feedback")[member]
            if normalize:
                self.normalise_constants(p)

    def scale(self, p):
        return 1 + (self.clip - 1) * (self.mask[p] & (p not in LAST)).double()

    def normalise_constants(self, p):
        for table in (self.gain, self.forget, self.feedback):
            if table[p] is not None:
                table[p] = table[p] / (table[p].norm() + 1e-6)

    def forward(self, x, h):
        self.inputs, self.values = {}, {}

        def apply(p, c):
            self.inputs[p] = c
            self.values[p] = torch.bmm(self.weight[p], c.unsqueeze(2)).squeeze(2) + self.bias[p]
            return self.values[p]

        first = c = torch.cat([x, h], dim=1)
        for p in self.places[:LAYERS]:
            c = gelu(apply(p, c))
        c = c + first if self.rule.residual else c
        self.critic = apply("critic", c) if "critic" in self.places else None
        hidden = torch.tanh(apply("recurrence", c)) if "recurrence" in self.places else torch.zeros_like(h)
        return apply("output", c), hidden

    def run(self, inputs, targets):
        h, outputs, losses = torch.zeros(BATCH, self.units).double(), [], []
        if self.rule.updater != "dfa":
            self.graph()
        for t in range(TIME):
            x, y = ((ids[:, t, None] == torch.arange(SYMBOLS)).double() for ids in (inputs, targets))
            logits, h = self.forward(x, h if self.rule.updater == "bptt" else h.detach())
            outputs.append(logits.detach())
            losses.append(-(torch.log_softmax(logits, dim=1) * y).sum(dim=1))
            if self.rule.updater == "dfa":
                error = torch.softmax(logits, dim=1) * y.sum(dim=1, keepdim=True) - y
                if self.critic is not None:
                    error = error + self.critic.clamp(-self.rule.self_grad, self.rule.self_grad)
                self.align(error)
            elif self.rule.updater == "backprop":
                self.descend(losses[-1].mean())
                self.graph()
        if self.rule.updater == "bptt":
            sum(losses).mean().backward()
            for p in self.places:
                w = (1 - self.forget[p]) * self.weight[p].detach()
                self.weight[p] = w - self.rule.eta * self.scale(p) * self.weight[p].grad
                self.bias[p] = self.bias[p].detach() - self.rule.eta * self.bias[p].grad
        merged = {p: torch.where(self.mask[p], 0.0, w.detach().mean(dim=0)) for p, w in self.weight.items()}
        return torch.stack(outputs, dim=1), merged, {p: b.detach() for p, b in self.bias.items()}

    def graph(self):
        for p in self.places:
            self.weight[p] = self.weight[p].detach().requires_grad_()
            self.bias[p] = self.bias[p].detach().requires_grad_()

    def align(self, error):
        for p in self.places:
            if p != "recurrence":
                delta = error if p in LAST else error @ self.feedback[p]
                self.move(p, delta.unsqueeze(2) * self.inputs[p].unsqueeze(1), delta.mean(dim=0))

    def descend(self, loss):
        loss.backward()
        for p in self.places:
            if self.weight[p].grad is not None:
                self.move(p, self.scale(p) * self.weight[p].grad, self.bias[p].grad)

    def move(self, p, gradient, bias_gradient):
        w = self.weight[p].detach() * (1 - self.forget[p])
        update = -gradient * (1.0 if p in LAST else self.gain[p])
        if self.rule.grad_clip and p not in LAST:
            update = torch.where(
                self.mask[p], update.clamp(-self.rule.grad_clip, self.rule.grad_clip), update
            )
        self.weight[p] = w + self.rule.eta * update
        self.bias[p] = self.bias[p].detach() - self.rule.eta * bias_gradient
        if self.normalize:
            self.weight[p] = self.weight[p] / (self.weight[p].norm() + 1e-6)
            self.bias[p] = self.bias[p] / (self.bias[p].norm() + 1e-6)
            self.normalise_constants(p)
        if self.rule.clip_weights:
            self.weight[p] = self.weight[p].clamp(-self.rule.clip_weights, self.rule.clip_weights)


def step_as_published(model, inputs, targets, normalize=False):
    """Assert that outputs and merged weights are those of `Published`; return outputs, gradients."""
    outputs, gradients = run(model, inputs, targets)
    # Dividing what has been divided already takes a millionth off at every step.
    tolerance = 1e-4 if normalize else 1e-11
    for member in range(len(SEEDS)):
        published = Published(model, member, normalize and model.rule.updater != "bptt")
        expected, weights, biases = published.run(inputs[member], targets[member])
        torch.testing.assert_close(outputs[member], expected, rtol=0, atol=tolerance)
        for place in model.places:
            for kind, value in (("weight", weights[place].T), ("bias", biases[place])):
                name = f"{place}_{kind}"
                after = getattr(model, name)[member] - ETA * gradients[name][member]
                torch.testing.assert_close(after.detach(), value, rtol=0, atol=tolerance)
    return outputs, gradients


PUBLISHED = [{}, {"clip_weights": 0.4}, {"grad_clip": 0.5}, {"normalize": True}]


@every_updater
@pytest.mark.parametrize("options", PUBLISHED, ids=lambda o: next(iter(o), "plain"))
def test_compatibility_steps_as_the_published_program_does(updater, options):
    inputs, targets = draw(padded=False)
    ours, corrected = (build(updater=updater, compatibility=c, **options) for c in (True, False))
    outputs, gradients = step_as_published(ours, inputs, targets, "normalize" in options)
    if updater != "bptt":
        assert not gradients["recurrence_weight"].any(), "its recurrence learns under BPTT only"
    assert (outputs - run(corrected, inputs, targets)[0]).abs().max() > 1e-2


@pytest.mark.parametrize("recurrence", [True, False])
def test_the_published_critic_learns_with_and_without_recurrence(recurrence):
    inputs, targets = draw(padded=False)
    options = {"compatibility": True, "enable_recurrence": recurrence}
    model = build(self_grad=0.5, **options)
    outputs, gradients = step_as_published(model, inputs, targets)
    assert gradients["critic_weight"].abs().max() > 1e-3
    assert gradients["critic_bias"].abs().max() > 1e-3
    assert not recurrence or not gradients["recurrence_weight"].any()
    without, _ = run(build(**options), inputs, targets)
    assert (outputs - without).abs().max() > 1e-2, "what it adds matters"


@every_updater
def test_the_published_bias_moves_at_padding_with_that_of_the_other_items(monkeypatch, updater):
    # Published weights forget at padding too, which is not reproduced; they move by nothing, their error being zero.
    (inputs, targets), options = draw(), {"updater": updater, "compatibility": True, "forget_rate": 0.0}
    model = build(**options)
    outputs, gradients = step_as_published(model, inputs, targets)
    state = model(inputs, None, None, {"targets": targets})[1]
    for place in model.places:
        bias = state[f"fast_{place}"][..., -1]
        torch.testing.assert_close(bias, bias[:, :1].expand_as(bias), rtol=0, atol=1e-15)
    monkeypatch.setattr(dense._Items, "_movable", lambda _, moves, written: moves)
    behind, lag = run(model, inputs, targets)
    assert differ(lag, gradients) > 1e-4, "biases of padded items that stay behind"
    assert (behind - outputs).abs().max() > 1e-4 or updater == "bptt"


if __name__ == "__main__":
    sys.exit(pytest.main([__file__, "-q", "-p", "no:cacheprovider"]))
