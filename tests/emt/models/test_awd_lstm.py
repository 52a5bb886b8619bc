"""AWD-LSTM and its Fast Weight Memory: sizes, each regularisation, torch's layers as the slow twin, equal segments."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from emt.config import TrainingConfig
from emt.models import awd_lstm as model_file
from emt.models.awd_fwm import AWDFastWeightMemory
from emt.models.awd_lstm import AWDLSTM
from emt.models.base import Factored, Model
from emt.models.layers import dropped
from emt.tasks.words import Words
from emt.training.losses import Scoring, cross_entropy
from emt.training.stack import Stack

SEEDS, ROWS, TIME, WORDS, UNITS, EMBEDDING = (3, 1003), 4, 7, 11, 6, 5
RATES = ("token_dropout", "input_dropout", "layer_dropout", "output_dropout", "recurrent_dropout")
both = pytest.mark.parametrize("kind", [AWDLSTM, AWDFastWeightMemory])


def build(kind=AWDLSTM, rate=0.4, seeds=SEEDS, **options):
    memory = {"memory_dim": 3, "reads": 2} if kind is AWDFastWeightMemory else {}
    sizes = {"hidden_dim": UNITS, "embedding_dim": EMBEDDING, **memory}
    return kind(seeds, WORDS, WORDS, **sizes, **dict.fromkeys(RATES, rate), **options).double()


def draw_words(seed=0, time=TIME):
    return torch.tensor(np.random.default_rng(seed).integers(WORDS, size=(len(SEEDS), ROWS, time)))


def loss_of(model, x, targets, noise=None):
    model.noise_step = noise
    outputs, _, log = model(x)
    scored = torch.ones_like(x, dtype=torch.bool)
    losses, _ = cross_entropy(outputs, Scoring(targets, scored, scored))
    return losses + log.get("added_loss", 0)


def gradients_of(losses, model):
    return dict(
        zip(
            dict(model.named_parameters()), torch.autograd.grad(losses.sum(), model.parameters()), strict=True
        )
    )


@pytest.mark.parametrize(
    ("kind", "words", "expected"),
    [
        (AWDLSTM, 10_000, 24_221_600),
        (AWDLSTM, 33_278, 33_556_078),
        (AWDFastWeightMemory, 10_000, 24_325_025),
        (AWDFastWeightMemory, 33_278, 33_659_503),
    ],
)
def test_the_weights_are_as_many_as_published(kind, words, expected, monkeypatch):
    monkeypatch.setattr(
        Model, "parameter_of", lambda _, __, shape, ___: nn.Parameter(torch.empty(1, *shape, device="meta"))
    )
    assert sum(p.numel() for p in kind([1], words, words).parameters()) == expected


@both
def test_it_is_torchs_layers_with_these_masks(kind, monkeypatch):
    masks = {}

    def note(model, values, kind_of_mask, rate, shape):
        found = dropped(model, values, kind_of_mask, rate, shape)
        masks[kind_of_mask] = dropped(
            model, torch.ones(2, *shape, dtype=values.dtype), kind_of_mask, rate, shape
        )
        return found

    monkeypatch.setattr(model_file, "dropped", note)
    model, x, targets = build(kind, activation_penalty=0.7, change_penalty=0.3), draw_words(), draw_words(1)
    if kind is AWDFastWeightMemory:
        with torch.no_grad():
            model.w_out.zero_()
            model.b_out.zero_()
    found = gradients_of(loss_of(model, x, targets, noise=5), model)
    for m in range(len(SEEDS)):
        own = {name: p[m].detach().clone().requires_grad_() for name, p in model.named_parameters()}
        passed = (own["embedding"] * masks["token"][m])[x[m]] * masks["input"][m]
        for i in range(3):
            inputs, units = passed.shape[-1], model.sizes[i]
            part = f"stack.{i}."
            weights = {
                "weight_ih_l0": own[part + "w_in"].mT,
                "weight_hh_l0": (own[part + "w_rec"] * masks[f"recurrent.{i}"][m]).mT,
                "bias_ih_l0": own[part + "bias"],
                "bias_hh_l0": own[part + "b_rec"],
            }
            layer = nn.LSTM(inputs, units, batch_first=True).double()
            hidden, _ = torch.func.functional_call(layer, weights, (passed,))
            passed = hidden * masks[f"layer.{i}"][m] if i < 2 else hidden
        shown = hidden * masks["output"][m]
        logits = shown @ own["embedding"].mT + own["b_decoder"]
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), targets[m].flatten())
        loss = loss + 0.7 * shown.square().mean() + 0.3 * (hidden[:, 1:] - hidden[:, :-1]).square().mean()
        used = {name: p for name, p in own.items() if name not in AWDFastWeightMemory.memory_names}
        for name, gradient in zip(used, torch.autograd.grad(loss, list(used.values())), strict=True):
            assert_close(found[name][m], gradient, rtol=0, atol=1e-12)
        assert gradient.abs().max() > 1e-4
    assert masks["token"].shape == (2, WORDS, 1), "a word is there or not, in all rows, at all steps"
    assert masks["input"].shape == (2, ROWS, 1, EMBEDDING), "rows have their own masks, steps have not"
    assert [masks[f"recurrent.{i}"].shape[1:] for i in range(3)] == [
        (n, 4 * n) for n in (UNITS, UNITS, EMBEDDING)
    ]


def test_masks_are_drawn_for_each_step_and_absent_in_evaluation():
    model, x, targets = build(), draw_words(), draw_words(1)
    with torch.no_grad():
        steps = [loss_of(model, x, targets, noise) for noise in (1, 2, 1, None)]
        assert torch.equal(steps[0], steps[2])
        assert (steps[0] != steps[1]).all()
        assert torch.equal(steps[3], loss_of(build(rate=0.0), x, targets))


def test_a_dropped_weight_has_the_weights_mean_and_the_variance_of_its_rate():
    model, rate, draws = build(), 0.6, 20_000
    weight = torch.tensor(np.random.default_rng(1).standard_normal((2, 2, 3)))
    samples = []
    for step in range(draws):
        model.noise_step = step
        samples.append(dropped(model, weight, "recurrent.0", rate, weight.shape[1:]))
    found, kept = torch.stack(samples), rate / (1 - rate)
    spread = weight.abs() * kept**0.5
    assert ((found.mean(dim=0) - weight).abs() < 4 * spread / draws**0.5).all()
    # The fourth moment of a scaled Bernoulli variable gives the error of its variance.
    fourth = weight**4 * (rate + rate**4 / (1 - rate) ** 3)
    error = (fourth - spread**4).clamp(min=0).sqrt() / draws**0.5
    assert ((found.var(dim=0) - spread**2).abs() < 4 * error).all()
    assert ((found.var(dim=0) - weight**2 * rate).abs() > 4 * error).any(), (
        "without scaling up it would be less"
    )


def test_the_table_is_read_out_undropped_and_learns_from_both_uses():
    tied, x, targets = build(), draw_words(), draw_words(1)
    tied.noise_step = 1
    outputs = tied(x, None, None, {"factored": torch.zeros(0)})[0]
    assert isinstance(outputs, Factored)
    assert outputs.table is tied.embedding
    apart = build()
    apart.decoder = nn.Parameter(apart.embedding.detach().clone())
    together, separate = (gradients_of(loss_of(model, x, targets, 1), model) for model in (tied, apart))
    assert_close(together["embedding"], separate["embedding"] + separate["decoder"], rtol=0, atol=1e-13)
    assert separate["decoder"].abs().max() > 1e-3


def test_penalties_have_their_closed_forms():
    model, x = build(activation_penalty=2.0, change_penalty=0.5), draw_words()
    constant = torch.full((2, ROWS, TIME, EMBEDDING), 3.0, dtype=torch.float64)
    ramp = constant + 0.25 * torch.arange(TIME)[:, None]
    zero = torch.zeros_like(constant)
    assert_close(model.penalty(x, zero, constant), torch.full((2,), 2 * 9.0, dtype=torch.float64))
    assert model.penalty(x, constant, zero).tolist() == [0, 0]
    assert_close(model.penalty(x, ramp, zero), torch.full((2,), 0.5 * 0.25**2, dtype=torch.float64))
    ended = x.clone()
    ended[:, 1, 3:] = -1
    ramp[:, 1, 3:] = 100
    assert_close(model.penalty(ended, ramp, zero), torch.full((2,), 0.5 * 0.25**2, dtype=torch.float64))


@both
def test_penalties_change_gradients_but_no_reported_loss(kind):
    x, targets = draw_words(), draw_words(1)
    plain, strict = build(kind, activation_penalty=0.0, change_penalty=0.0), build(kind)
    losses = [loss_of(model, x, targets, 1) for model in (plain, strict)]
    assert_close(losses[0], losses[1], rtol=0, atol=1e-14)
    first, second = (gradients_of(loss, model) for loss, model in zip(losses, (plain, strict), strict=True))
    assert (first["stack.2.w_in"] - second["stack.2.w_in"]).abs().max() > 1e-3


def test_a_memory_that_is_not_added_leaves_the_lstm_as_it_is():
    x, targets = draw_words(), draw_words(1)
    lstm, memory = build(), build(AWDFastWeightMemory)
    before = loss_of(memory, x, targets, 1)
    with torch.no_grad():
        memory.w_out.zero_()
        memory.b_out.zero_()
    losses = [loss_of(model, x, targets, 1) for model in (lstm, memory)]
    assert_close(losses[0], losses[1], rtol=0, atol=1e-14)
    assert (before - losses[0]).abs().min() > 1e-3
    first, second = (gradients_of(loss, model) for loss, model in zip(losses, (lstm, memory), strict=True))
    for name, gradient in first.items():
        assert_close(second[name], gradient, rtol=0, atol=1e-13)


def test_a_table_of_zeros_knows_nothing():
    model, x = build(), draw_words()
    with torch.no_grad():
        model.embedding.zero_()
        assert_close(
            loss_of(model, x, draw_words(1), 1), torch.full((2,), math.log(WORDS), dtype=torch.float64)
        )


@both
def test_one_long_evaluation_is_that_of_any_segments(kind, mini_texts):
    losses = []
    for segment in (3, 8, 200):
        task = Words(data=str(mini_texts), segment=segment, validation_rows=2)
        sizes = {"hidden_dim": UNITS, "embedding_dim": EMBEDDING}
        model = kind(SEEDS, task.input_channels, task.output_channels, **sizes).double()
        stack = Stack(TrainingConfig(num_models=2, curriculum_horizons=(1,)), task, model, (1, 2))
        losses.append(stack.measure("validation", 100, np.arange(2))[0])
    np.testing.assert_allclose(losses[1:], [losses[0]] * 2, rtol=0, atol=1e-10)


def test_training_never_holds_all_logits(mini_texts, monkeypatch):
    def refuse(_):
        raise AssertionError("all logits at once")

    monkeypatch.setattr(Factored, "outputs", refuse)
    task = Words(data=str(mini_texts), segment=9)
    sizes = {"hidden_dim": UNITS, "embedding_dim": EMBEDDING, "memory_dim": 3}
    model = AWDFastWeightMemory(SEEDS, task.input_channels, task.output_channels, **sizes)
    stack = Stack(TrainingConfig(num_models=2, batch_size=3, curriculum_horizons=(1,)), task, model, (1, 2))
    assert np.isfinite(stack.gradients().loss).all()
    assert np.isfinite(stack.measure("validation", 2, np.arange(2))[0]).all()
