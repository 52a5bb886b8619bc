"""The low-rank form against a matrix for each item (for the equations see tests/test_unified_updates.py)."""

import pytest
import torch

from emt.ops.ethereal.forms import (
    LONGEST,
    Layer,
    Network,
    Rule,
    Start,
    ethereal,
    ethereal_low_rank,
    ethereal_steps,
)

MEMBERS, BATCH, TIME, CHANNELS, UNITS, OUT = 2, 3, 7, 4, 5, 6
WIDTH = CHANNELS + UNITS


def draw_layer(generator, key, value, *, plastic=True, own_plasticity=False):
    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    mask = (torch.rand(MEMBERS, key + 1, value, generator=generator) < 0.4).double()
    mask[:, -1] = 0
    plasticity = 20 * normal(MEMBERS, key + 1, value) if own_plasticity else 20.0
    feedback = normal(MEMBERS, OUT, value)
    weight = 0.4 * normal(MEMBERS, key + 1, value) * (1 - mask)
    return (
        Layer(weight, mask, plasticity, feedback) if plastic else Layer(0.4 * normal(MEMBERS, key + 1, value))
    )


def draw(*, recurrence=True, critic=False, own_plasticity=False):
    generator = torch.Generator().manual_seed(0)
    inner = tuple(draw_layer(generator, WIDTH, WIDTH, own_plasticity=own_plasticity) for _ in range(2))
    output, addition = (draw_layer(generator, WIDTH, OUT, plastic=False) for _ in range(2))
    recurrent = draw_layer(generator, WIDTH, UNITS, own_plasticity=own_plasticity)
    network = Network(inner, output, recurrent if recurrence else None, addition if critic else None)
    x = torch.randn(MEMBERS, BATCH, TIME, CHANNELS, generator=generator, dtype=torch.float64)
    targets = torch.randint(-1, OUT, (MEMBERS, BATCH, TIME), generator=generator)
    targets[1, 2, 4:] = -1
    return network, x, targets


CASES = {
    "dfa": ({}, Rule("dfa", 0.05, 0.2)),
    "derivative": ({}, Rule("dfa", 0.05, 0.2, derivative=True, residual=True)),
    "critic": ({"critic": True}, Rule("dfa", 0.05, 0.2, self_grad=0.1)),
    "critic_alone": ({"critic": True, "recurrence": False}, Rule("dfa", 0.05, 0.2, self_grad=0.1)),
    "backprop": ({}, Rule("backprop", 0.05, 0.2)),
    "residual": ({}, Rule("backprop", 0.05, 0.2, residual=True)),
    "no_recurrence": ({"recurrence": False}, Rule("backprop", 0.05, 1.0)),
    "rectified": ({}, Rule("backprop", 0.05, rectifies=True)),
    "nothing_read": ({}, Rule("dfa", 0.05, writes=False)),
    "own_plasticity": ({"own_plasticity": True}, Rule("dfa", 0.05, 0.2, plasticity_gradient=True)),
    "own_plasticity_backprop": (
        {"own_plasticity": True},
        Rule("backprop", 0.05, 0.2, plasticity_gradient=True),
    ),
}


def told(run, rule):
    """Everything that a run tells, by name."""
    lists = {name: getattr(run, name) for name in ("keys", "values", "reads", "wrote")}
    lists |= {"written": run.written(), "merged": run.merged()}
    if rule.plasticity_gradient:
        lists["plasticity"] = [g for g in run.plasticity_gradients() if g is not None]
    entries = {f"{name}_{i}": t for name, tensors in lists.items() for i, t in enumerate(tensors)}
    return entries | {"outputs": run.outputs, "hidden": run.hidden}


@pytest.mark.parametrize("case", CASES)
def test_both_forms_tell_the_same(case):
    options, rule = CASES[case]
    network, x, targets = draw(**options)
    dense, low_rank = (told(f(network, rule, x, targets), rule) for f in (ethereal_steps, ethereal_low_rank))
    assert set(dense) == set(low_rank)
    for name, value in dense.items():
        given = low_rank[name]
        if name.startswith(("keys", "values", "reads")):
            # What a layer is not asked, or does not write, is nobody's business.
            place = int(name[-1])
            there = dense[f"wrote_{place}"][..., None] & low_rank[f"wrote_{place}"][..., None]
            value, given = value * there, given * there
        torch.testing.assert_close(
            given, value, rtol=0, atol=1e-10 * max(1.0, value.double().abs().max().item())
        )
    still = ethereal_steps(network, rule._replace(writes=False), x, targets).outputs
    assert (still - dense["outputs"]).abs().max() > 1e-3 or not rule.writes


@pytest.mark.parametrize("case", CASES)
def test_the_form_is_chosen_by_what_is_asked(case, monkeypatch):
    options, rule = CASES[case]
    network, x, targets = draw(**options)
    used = []
    for form in (ethereal_steps, ethereal_low_rank):
        monkeypatch.setattr(f"emt.ops.ethereal.forms.{form.__name__}", lambda *_, f=form: used.append(f))
    ethereal(network, rule, x, targets)
    ethereal(network, rule, x)
    ethereal(network, rule._replace(clip_weights=1.0), x, targets)
    ethereal(network, rule._replace(updater="bptt"), x, targets)
    ethereal(network, rule, x.repeat(1, 1, LONGEST, 1), targets.repeat(1, 1, LONGEST))
    assert used == [ethereal_low_rank, *[ethereal_steps] * 4]


@pytest.mark.parametrize("case", ["dfa", "critic", "critic_alone"])
def test_a_state_before_the_first_step_is_as_none(case):
    """Only the recurrence does not write at the first step; a critic without recurrence stands in its place."""
    options, rule = CASES[case]
    network, x, targets = draw(**options)
    start = Start(x.new_zeros(MEMBERS, BATCH, WIDTH), torch.zeros(MEMBERS, BATCH, dtype=torch.bool), None)
    begun, plain = (told(ethereal_steps(network, rule, x, targets, one), rule) for one in (start, None))
    for name, value in plain.items():
        if name.startswith(("written", "merged", "wrote", "outputs")):
            torch.testing.assert_close(begun[name].double(), value.double(), rtol=0, atol=1e-12)


def test_clipping_and_normalising_bound_the_weights_of_every_item():
    network, x, targets = draw()
    rule = Rule("dfa", 0.05, 0.2)
    clipped = ethereal_steps(network, rule._replace(clip_weights=0.3), x, targets)
    normalised = ethereal_steps(network, rule._replace(normalize=True), x, targets)
    for layer, a, b, free in zip(
        network.layers,
        clipped.written(),
        normalised.written(),
        ethereal_steps(network, rule, x, targets).written(),
        strict=True,
    ):
        after = (layer.weight.unsqueeze(1) + a)[:, :, :-1]
        assert after.abs().max() <= 0.3 + 1e-12
        assert (layer.weight.unsqueeze(1) + free)[:, :, :-1].abs().max() > 0.3
        torch.testing.assert_close(
            (layer.weight.unsqueeze(1) + b)[:, :, :-1].norm(dim=(2, 3)),
            torch.ones(MEMBERS, BATCH).double(),
            atol=1e-5,
            rtol=0,
        )
    tight = ethereal_steps(network, rule._replace(grad_clip=1e-3), x, targets).written()[0]
    steps = (targets >= 0).sum(dim=2)
    plastic = tight * network.inner[0].mask.unsqueeze(1)
    assert (plastic.abs().amax(dim=(2, 3)) <= 0.05 * 1e-3 * steps + 1e-15).all()
    assert plastic.any()


def test_without_targets_outputs_are_differentiable():
    network, x, _ = draw()
    x.requires_grad_()
    run = ethereal(network, Rule("bptt", 0.05), x)
    (gradient,) = torch.autograd.grad(run.outputs[:, :, -1].sum(), x)
    assert gradient[:, :, 0].abs().max() > 0
    assert not any(w.any() for w in run.written())


def test_the_published_program_divides_whatever_a_layer_holds_by_its_norm():
    """First step of feedback alignment, where D = 0: of the feedback, the gains and the weights, biases apart.

    Gains are 1 + (A − 1) M without the bias' row, whose gain is one; the bias moves by the mean over items, and
    weights of all items have one norm together.
    """
    network, x, targets = draw()
    x, targets = x[:, :, :1], targets[:, :, :1].abs()
    rule = Rule("dfa", 0.05, 0.2, compatibility=True)
    plain, run = (ethereal_steps(network, r, x, targets) for r in (rule, rule._replace(normalize=True)))
    for place, layer in enumerate(network.inner):
        length = layer.feedback.flatten(1).norm(dim=1).view(-1, 1, 1, 1) + 1e-6
        torch.testing.assert_close(run.values[place], plain.values[place] / length)
        assert not torch.allclose(run.values[place], plain.values[place])
        gain = 1 + (layer.plasticity - 1) * layer.mask[:, :-1]
        gain = gain / (gain.flatten(1).norm(dim=1).view(-1, 1, 1) + 1e-6)
        key, delta = run.keys[place][:, :, 0], -run.values[place][:, :, 0]
        moved = gain.unsqueeze(1) * key[..., :-1, None] * delta[..., None, :]
        entries = layer.weight[:, None, :-1] - 0.05 * moved
        bias = layer.weight[:, None, -1:] - 0.05 * delta.mean(dim=1)[:, None, None]
        entries = entries / (entries.flatten(1).norm(dim=1).view(-1, 1, 1, 1) + 1e-6)
        bias = (bias / (bias.norm(dim=3, keepdim=True) + 1e-6)).expand(-1, BATCH, -1, -1)
        after = layer.weight.unsqueeze(1) + run.written()[place]
        torch.testing.assert_close(after, torch.cat([entries, bias], dim=2), rtol=0, atol=1e-12)
