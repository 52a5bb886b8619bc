"""Every family of language models: what is logged is what the model computes."""

import functools
import sys

import numpy as np
import pytest
import torch
from planted.language_models import language_model, random_text

import emt
from analysis.memory.replay import match_grids, recall_error, replay_memory
from emt import trace
from emt.errors import UserError
from emt.own.language.readers import BACKEND, READERS, UNREAD

RECURRENCES = ("qwen3_next", "olmo_hybrid", "kimi_linear", "mamba2", "mamba", "xlstm", "rwkv7")
"""A family for each way of calling a recurrence."""

FURTHER = (
    *("qwen3_5", "bamba", "granitemoehybrid", "falcon_h1", "nemotron_h", "zamba2", "jamba", "falcon_mamba"),
    *("qwen3_5_moe", "lara_mini", "bailing_hybrid", "zamba"),
)

every_family = pytest.mark.parametrize(
    "family", [*RECURRENCES, *(pytest.param(name, marks=pytest.mark.slow) for name in FURTHER)]
)
every_recurrence = pytest.mark.parametrize(
    "family",
    [
        name if name in ("qwen3_next", "mamba2", "xlstm") else pytest.param(name, marks=pytest.mark.slow)
        for name in RECURRENCES
    ],
)


def functions_of(model):
    """Return the functions that recordings replace, by module and name."""
    modules = {sys.modules[type(part).__module__] for part in model.modules()}
    return {(m, n): vars(m)[n] for m in modules for n in (*READERS, *UNREAD) if n in vars(m)}


def hooks_of(model):
    """Return how many hooks each part has; the library sets those that collect hidden states at a first run."""
    with torch.no_grad():
        model(input_ids=random_text(rows=1), output_hidden_states=True)
    return [len(part._forward_hooks) + len(part._forward_pre_hooks) for part in model.modules()]


@every_family
def test_weights_times_written_values_are_what_was_read(family):
    models = [language_model(family, seed) for seed in (0, 1)]
    ids = random_text()
    with torch.no_grad():
        plain = torch.stack([model.eval()(input_ids=ids, use_cache=False).logits for model in models])
    run = emt.from_transformers(models, ids, classes=range(64), induction=True)
    proof = trace.about(run.recording).proof
    assert proof["outputs"] == 0
    assert proof["reads"] < (5e-5 if family == "xlstm" else 1e-5)
    np.testing.assert_array_equal(run.recording["outputs"], plain)

    names = list(trace.places(run.recording))
    for name in (names[0], names[-1]):
        grids = match_grids(run.recording, name)
        assert recall_error(run.recording, name, grids).max() < 1e-6
        # Some read weighs an earlier write, or decays have made this test empty.
        weight = np.nan_to_num(np.abs(grids.mean_weight[0, 0, :, 0]))
        assert np.tril(weight, -1).max() > 0.01 * weight.max() > 0


def final_states(family, model, ids):
    """Return the state that a model's own cache holds of its first layer, (batch, head, value, key)."""
    with torch.no_grad():
        outputs = model.eval()(input_ids=ids, use_cache=True)
    if family == "xlstm":
        content, _, stabiliser = outputs.cache.rnn_state[0]
        return (content * stabiliser.exp()[..., None]).transpose(-1, -2)
    if family == "rwkv7":
        return outputs.past_key_values.recurrent_state[0].transpose(-1, -2)
    cache = outputs.cache if family in ("mamba", "mamba2") else outputs.past_key_values
    state = cache.get_recurrent_state(0)
    if family == "mamba":
        return state[:, :, None]
    return state if family == "mamba2" else state.transpose(-1, -2)


@every_recurrence
def test_replayed_contents_are_the_state_that_the_model_caches(family):
    """The cache is the library's own computation; its layout is that of each family's functions."""
    model, ids = language_model(family), random_text(rows=2)
    wanted = final_states(family, model, ids).numpy()
    run = emt.from_transformers(model, ids, layers=[0], channels=None)
    for head in (0, wanted.shape[1] - 1):
        [[held]] = replay_memory(run.recording, f"layer0_head{head}", [ids.shape[1] - 1])[:, :1, 0]
        np.testing.assert_allclose(held, wanted[0, head], atol=2e-5 * np.abs(wanted).max())


@every_recurrence
def test_a_function_that_computes_something_else_is_caught(family, monkeypatch):
    model, ids = language_model(family), random_text()
    before = functions_of(model)

    def wrong(right):
        @functools.wraps(right)
        def scaled(*args, **kwargs):
            returned = right(*args, **kwargs)
            rest = returned[1:] if isinstance(returned, tuple) else None
            return (1.01 * returned[0], *rest) if rest is not None else 1.01 * returned

        return scaled

    for (module, name), function in before.items():
        if name in READERS:
            monkeypatch.setattr(module, name, wrong(function))
    for part in model.modules():
        if type(part).__name__ == BACKEND:
            part.forward = wrong(part.forward)
    there, hooks = functions_of(model), hooks_of(model)
    said = r"layer0_head\d+: recomputed output differs by (1e-02|9e-03) of the largest .*, more than [15]e-05"
    with pytest.raises(UserError, match=said):
        emt.from_transformers(model, ids)
    assert functions_of(model) == there
    assert hooks_of(model) == hooks


@every_recurrence
def test_everything_is_as_before_after_a_recording(family):
    model = language_model(family)
    functions, hooks = functions_of(model), hooks_of(model)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.train()
    emt.from_transformers(model, random_text())
    assert functions_of(model) == functions
    assert hooks_of(model) == hooks
    assert all(part.training for part in model.modules())
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("family", ["qwen3_next", "mamba2", "mamba"])
def test_half_precision_is_proved_to_its_own_digits(family):
    model = language_model(family).to(torch.bfloat16)
    run = emt.from_transformers(model, random_text())
    assert 1e-5 < trace.about(run.recording).proof["reads"] < 2e-2
    with pytest.raises(UserError, match=r"recomputed output differs by .*, more than 1e-05"):
        emt.from_transformers(model, random_text(), tolerance=1e-5)
