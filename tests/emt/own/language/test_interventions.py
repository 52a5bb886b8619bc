"""Writes of language models are changed: what follows is what the model computes with them changed."""

import numpy as np
import pytest
import torch
from planted.language_models import language_model, random_text

import emt
from analysis import summarise_interventions
from analysis.memory.replay import match_grids
from emt.errors import UserError
from emt.models.memory_edits import MemoryEdit, context_with
from emt.own.language import rebinding
from emt.own.language.edits import EDITORS
from emt.own.language.readers import READERS

WITH_ERASE = ("qwen3_next", "kimi_linear", "rwkv7")
every_editable = pytest.mark.parametrize(
    "family",
    [
        "qwen3_next",
        "mamba2",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("kimi_linear", "rwkv7", "mamba")),
    ],
)
STEP = 3
"""The step whose write is changed."""


def recorded(family, members=2, **options):
    models = [language_model(family, seed) for seed in range(members)]
    return emt.from_transformers(
        models, random_text(), classes=range(64), induction=True, channels=None, **options
    )


def outputs_and_log(run, edits):
    stack = run.networks.model
    ids = torch.tensor(run.batch.inputs).expand(stack.members, -1, -1)
    with torch.no_grad():
        outputs, _, log = stack.eval()(ids, None, ids.shape[2], context_with({}, edits))
    return outputs, log


def numbers(run, value):
    """Return a number for each step, (member, batch, time)."""
    return torch.full((run.networks.model.members, *run.batch.inputs.shape[1:]), value)


@every_editable
def test_a_write_without_strength_takes_its_value_from_later_reads_and_nothing_else(family):
    run = recorded(family)
    memory = next(iter(run.networks.model.memories))
    plain, log = outputs_and_log(run, {})
    np.testing.assert_array_equal(plain.numpy(), run.recording["outputs"].to_numpy())

    ones = numbers(run, 1.0)
    same, _ = outputs_and_log(run, {memory: MemoryEdit(scale=ones)})
    assert torch.equal(same, plain)

    less = ones.clone()
    less[:, :, STEP] = 0
    edited, changed = outputs_and_log(run, {memory: MemoryEdit(scale=less)})
    # The library's chunked KDA rounds earlier outputs otherwise when later values change.
    tolerance = 1e-6 if family == "kimi_linear" else 0
    torch.testing.assert_close(edited[:, :, :STEP], plain[:, :, :STEP], atol=tolerance, rtol=0)
    assert (edited - plain)[:, :, STEP + 1 :].abs().max() > 1e-4
    name = f"memory/{memory}/read_value"
    lost = (log[name] - changed[name]).numpy()[:, :, STEP:, 0, 0]
    grids = match_grids(run.recording, f"{memory}_head0", range(STEP, lost.shape[2] + STEP))
    weights = grids.weight[..., 0, np.flatnonzero(grids.write_steps == STEP)[0], 0]
    value = log[f"memory/{memory}/write_value"].numpy()[:, :, STEP, 0]
    expected = weights[..., None] * value[:, :, None]
    np.testing.assert_allclose(lost, expected, atol=1e-5 * np.abs(expected).max())
    assert np.abs(expected).max() > 1e-4


@every_editable
def test_a_skipped_write_neither_writes_nor_erases(family):
    run = recorded(family)
    memory = next(iter(run.networks.model.memories))
    silent = numbers(run, 0.0).bool()
    silent[:, :, STEP] = True
    skipped, log = outputs_and_log(run, {memory: MemoryEdit(skip=silent)})
    blank, _ = outputs_and_log(run, {memory: MemoryEdit(scale=(~silent).float())})
    written = log[f"memory/{memory}/write_strength"][..., None] * log[f"memory/{memory}/write_value"]
    assert (written[:, :, STEP] == 0).all()
    assert (written[:, :, STEP - 1] != 0).any()
    # Where writes erase a skipped one leaves what a write without strength erases.
    assert torch.equal(skipped, blank) == (family not in WITH_ERASE)


@pytest.mark.parametrize("family", ["mamba2", pytest.param("mamba", marks=pytest.mark.slow)])
def test_what_passes_a_scan_by_stays(family, monkeypatch):
    """Outputs are (read + D x) gate: a write that is taken away leaves D x, and what was read before."""
    run = recorded(family, members=1)
    stack, memory = run.networks.model, next(iter(run.networks.model.memories))
    calls, results = [], []
    lacking = rebinding._with
    monkeypatch.setattr(rebinding, "_with", lambda *given: results.append(lacking(*given)) or results[-1])
    monkeypatch.setattr(
        "emt.own.language.models.check_reads", lambda node, call, read, tolerance: calls.append((call, read))
    )
    outputs_and_log(run, {})
    plain = calls[0][0]
    calls.clear()
    none = torch.zeros_like(numbers(run, 0.0))
    outputs_and_log(run, {memory: MemoryEdit(scale=none)})
    result = results[0][0] if isinstance(results[0], tuple) else results[0]
    result = result.transpose(1, 2)[..., None] if family == "mamba" else result
    assert calls[0][1].abs().max() == 0
    torch.testing.assert_close(result.double(), plain.output(calls[0][1]), atol=1e-6, rtol=1e-5)
    assert stack.edits == (("scale", "skip") if family == "mamba" else ("scale", "skip", "value"))


def test_untrained_models_depend_on_no_write():
    run = recorded("qwen3_next", members=6)
    effects = emt.intervene(run)
    assert float(effects["read_error"].max()) < 1e-5
    result = summarise_interventions(effects)
    row = result.population.loc["without queried"]
    assert row["effect_low"] <= 0 <= row["effect_high"]
    assert "queried skipped" in result.population.index
    assert result.population.loc["without queried", "share"] > 0


def test_all_functions_that_are_read_can_be_changed():
    assert set(EDITORS) == set(READERS)


def test_what_cannot_be_changed_is_refused():
    with pytest.raises(UserError, match=r"nothing of the model's memory can be changed"):
        emt.intervene(recorded("xlstm"))
    with pytest.raises(UserError, match="expected ids whose logits are compared; got none"):
        emt.intervene(emt.from_transformers(language_model("qwen3_next", 0), random_text()))
    with pytest.raises(UserError, match="too large to be searched for fixed points"):
        recorded("qwen3_next").dynamics()
