"""Recordings of language models: rows, tokens, members, selections, refusals."""

import json
import re
import sys
import threading

import numpy as np
import pytest
import torch
from planted.language_models import language_model, random_text
from torch import nn

import emt
from analysis.memory.matching import match_memories
from emt import trace
from emt.commands.main import main as run_emt
from emt.errors import UserError
from emt.own.language import layout, recorder, recording
from emt.own.language.calls import Chosen
from emt.own.language.rebinding import watched
from emt.own.language.tokens import after_last_occurrence


@pytest.fixture
def model():
    return language_model("qwen3_next")


def memory_arrays(run, node="layer0"):
    return {name: array.to_numpy() for name, array in trace.nodes(run.recording)[node].data_vars.items()}


# Rows and tokens


def test_rows_of_different_length_are_each_run_alone(model, monkeypatch):
    rows = [[5, 9, 5, 7, 9, 5], [8, 3, 8], [4, 4, 5, 6, 7, 8]]
    together = emt.from_transformers(model, rows)
    # A row at a time: what runs together makes no difference.
    monkeypatch.setattr(recorder, "MOST_AT_ONCE", 1)
    alone = emt.from_transformers(model, rows)
    present = trace.present_steps(together.recording)
    assert present.sum(axis=1).tolist() == [6, 3, 6]
    for row, ids in enumerate(rows):
        single = memory_arrays(emt.from_transformers(model, [ids]))
        for run in (together, alone):
            for name, array in memory_arrays(run).items():
                np.testing.assert_allclose(array[0, row, : len(ids)], single[name][0, 0], atol=1e-6)
                assert np.isnan(array[0, row, len(ids) :]).all()
    assert together.recording["token"].values[1].tolist() == [5, 0, 5, -1, -1, -1]
    assert trace.about(together.recording).tokens == ("3", "4", "5", "6", "7", "8", "9")[:7]
    assert json.loads(together.recording.attrs["about"])["token_ids"] == [3, 4, 5, 6, 7, 8, 9]


def test_losses_and_outputs_are_those_of_the_model(model):
    ids = random_text()
    run = emt.from_transformers(model, ids, classes=[7, 3, 60], hidden_layer=0)
    with torch.no_grad():
        outputs = model.eval()(input_ids=ids, labels=ids, output_hidden_states=True)
    np.testing.assert_array_equal(run.recording["outputs"][0], outputs.logits[..., [7, 3, 60]])
    np.testing.assert_array_equal(run.recording["hidden"][0], model.get_input_embeddings()(ids).detach())
    losses = run.recording["token_loss"].to_numpy()[0]
    assert np.isnan(losses[:, -1]).all()
    assert losses[:, :-1].mean() == pytest.approx(float(outputs.loss), rel=1e-6)
    following = torch.cat([ids[:, 1:], torch.full((3, 1), -1)], 1).numpy()
    for place, token in enumerate((7, 3, 60)):
        np.testing.assert_array_equal(run.recording["targets"].to_numpy()[..., place], following == token)
    np.testing.assert_array_equal(run.recording["scored"], np.isin(following, (7, 3, 60)))
    blank = emt.from_transformers(model, ids).recording
    assert blank.sizes["output"] == blank.sizes["channel"] == blank.sizes["target"] == 0


def test_answers_are_named_by_the_classes_and_absent_where_no_class_is_right(model):
    """5 is followed by 9, 9 by 5, then 7: asked at steps 2, 3 and 4, of which 7 is no class."""
    run = emt.from_transformers(
        model, [[5, 9, 5, 9, 5, 7]], classes=[9, 5, 3], names={9: "nine"}, induction=True
    )
    asks = match_memories(run.recording, memory="layer0_head0").asks
    assert asks["right_answer"].tolist() == ["nine", "5", ""]
    assert set(asks["answer"]) <= {"nine", "5", "3"}
    assert not asks["correct"].iloc[2]
    assert asks["correct"].tolist() == (asks["answer"] == asks["right_answer"]).tolist()


class Tokenizer:
    """What of a tokenizer is used."""

    def decode(self, ids):
        return {5: " five", 9: "\n"}.get(ids[0], f"t{ids[0]}")


@pytest.mark.parametrize(
    "names", [Tokenizer(), {5: " five", 9: "\n", 7: "t7"}, [*"abcde", " five", "f", "t7", "g", "\n"]]
)
def test_tokens_are_labels(model, names):
    run = emt.from_transformers(model, [[5, 9, 7, 5]], names=names)
    assert trace.about(run.recording).tokens == (" five", "t7", r"\n")
    [grid] = match_memories(run.recording, memory="layer0_head0", trials=1).grids
    assert grid.row_labels == (" five", r"\n", "t7", " five")


def test_induction_asks_for_what_followed_last_time(model):
    """By hand: 5 was followed by 9 and 7; its third occurrence asks for the 7."""
    rows = [[5, 9, 5, 7, 9, 5], [8, 8, 8, 3, 4, 3]]
    run = emt.from_transformers(model, rows, induction=True)
    numbers = {token: place for place, token in enumerate([3, 4, 5, 7, 8, 9])} | {-1: -1}
    wanted = [[-1, -1, 9, -1, 5, 7], [-1, 8, 8, -1, -1, 4]]
    np.testing.assert_array_equal(run.recording["asked"], np.vectorize(numbers.get)(wanted))
    np.testing.assert_array_equal(run.recording["written"], run.recording["token"])
    np.testing.assert_array_equal(after_last_occurrence(np.array([[4, 4, -1, -1]])), [[-1, 4, -1, -1]])


def test_a_memory_that_holds_what_followed_answers_induction(model):
    """Both ways round: the same question on a memory whose keys are the tokens before, and on the model's own."""
    run = emt.from_transformers(model, random_text(rows=6, steps=40), heads=[0], induction=True)
    scores = match_memories(run.recording).population.loc["layer0_head0"]
    # Random weights know nothing of it.
    assert abs(scores["score"] - scores["chance"]) < 0.12
    node = run.recording["memory/layer0"]
    token = run.recording["token"].to_numpy()
    code = np.eye(token.max() + 1, dtype=np.float32)
    before = np.concatenate([np.zeros_like(token[:, :1]), token[:, :-1]], axis=1)
    planted = {name: array.copy(deep=True) for name, array in node.data_vars.items()}
    keys = {"write_key": code[before][None, :, :, None], "read_query": code[token][None, :, :, None, None]}
    for name, array in keys.items():
        planted[name] = (planted[name].dims, array)
    planted["write_keep"] = planted["write_keep"] * 0 + 0.5
    planted["write_erase"] = planted["write_erase"] * 0
    planted["write_strength"] = planted["write_strength"] * 0 + 1
    run.recording["memory/layer0"] = type(node.to_dataset())(planted)
    assert match_memories(run.recording).population.loc["layer0_head0", "score"] == 1


def test_events_of_ones_own(model):
    ids = [[5, 9, 7, 5]]
    run = emt.from_transformers(model, ids, asked=[[-1, -1, 5, 9]])
    assert run.recording["asked"].values.tolist() == [[-1, -1, 0, 2]]
    run = emt.from_transformers(model, ids, written=[[3, 1, -1, -1]], asked=[[-1, -1, 1, 3]])
    assert run.recording["written"].values.tolist() == [[3, 1, -1, -1]]
    assert run.recording["asked"].values.tolist() == [[-1, -1, 1, 3]]


# Parts of a model


def test_heads_layers_and_channels_are_chosen(tmp_path):
    model, ids = language_model("mamba2"), random_text()
    whole = emt.from_transformers(model, ids)
    some = emt.from_transformers(model, ids, layers=[1], heads=[4, 1])
    assert list(trace.places(some.recording)) == ["layer1_head4", "layer1_head1"]
    trace.save(some.recording, tmp_path / "some.nc")
    loaded = trace.load(tmp_path / "some.nc")
    assert list(trace.places(loaded)) == ["layer1_head4", "layer1_head1"]
    for name in trace.places(loaded):
        for variable, array in trace.memory(loaded, name).data_vars.items():
            np.testing.assert_array_equal(array, trace.memory(whole.recording, name)[variable])
    assert match_memories(loaded, memory="layer1_head1").grids[0].memory == "layer1_head1"

    channels = emt.from_transformers(language_model("mamba"), ids, channels=5)
    assert [*trace.places(channels.recording)][:5] == [f"layer0_head{16 * n}" for n in range(5)]
    named = emt.from_transformers(language_model("mamba"), ids, layers=[0], channels=[3, 79])
    assert list(trace.places(named.recording)) == ["layer0_head3", "layer0_head79"]


def test_a_layer_that_is_called_twice_has_two_nodes(model):
    class Twice(type(model)):
        def forward(self, *args, **kwargs):
            super().forward(*args, **kwargs)
            return super().forward(*args, **kwargs)

    model.__class__ = Twice
    run = emt.from_transformers(model, random_text())
    assert list(trace.nodes(run.recording)) == ["layer0", "layer0_call2"]
    for name, array in memory_arrays(run).items():
        np.testing.assert_array_equal(array, memory_arrays(run, "layer0_call2")[name])


def test_members_are_checkpoints_or_seeds(tmp_path):
    models = [language_model("mamba2", seed) for seed in (3, 4)]
    run = emt.from_transformers(models, random_text(), seeds=[3, 4], names={5: "five"})
    assert trace.member_names(run.recording) == ("model-1", "model-2")
    assert trace.about(run.recording).seeds == (3, 4)
    assert run.label == "mamba2"
    assert "proofs passed outputs (0e+00), reads" in repr(run)
    run.save(tmp_path / "mamba2")
    about = json.loads((tmp_path / "mamba2" / "adopted.json").read_text())
    assert about["recorded_with"] == "from_transformers"
    assert about["libraries"]["transformers"] == recording.version("transformers")
    assert len({member["sha256"] for member in about["members"]}) == 2
    with pytest.raises(UserError, match=r"dynamics: .*the state of a language model is too large"):
        run.dynamics()


def test_a_pattern_is_needed_with_many_memories(tmp_path, capsys):
    run = emt.from_transformers(
        language_model("mamba"), random_text(rows=2, steps=12), induction=True, channels=20
    )
    run.save(tmp_path / "mamba")
    words = ["analyze", "match", "--summary_file", str(tmp_path / "mamba"), "--trials", "1", "--memory"]
    assert run_emt(words[:-1]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "--memory: expected a pattern such as layer0_*: the model keeps 40 memories" in line
    assert run_emt([*words, "layer1_*"]) == 0
    folder = tmp_path / "mamba" / "match_analysis"
    assert len((folder / "match_population.csv").read_text().splitlines()) == 21
    assert len({re.sub("_model.*", "", path.stem) for path in folder.glob("match_layer1_head*.png")}) == 8
    assert trace.about(run.recording).memories["layer1"] == {"kind": "linear", "reads": "after", "mixes": 4}


# Refusals


@pytest.mark.parametrize(
    ("token_ids", "said"),
    [
        ([], "token_ids: expected at least one row"),
        ([[1.5, 2.0]], r"token_ids: expected whole-numbered ids .*got a row of float64 \(2,\)"),
        ([5, 9], r"token_ids: expected whole-numbered ids .*got a row of int64 \(\)"),
        ([[5, 64]], "token_ids: expected ids from 0 to 63; got 64"),
        ([[5, -1]], "token_ids: expected ids from 0 to 63; got -1"),
        (
            [[5, 9, 7], [2, 5, 9]],
            r"row 1 starts with the padding id 2 \(give rows of different length as a list",
        ),
        ([[5, 9, 7], [5, 9, 2]], "row 1 ends with the padding id 2"),
    ],
)
def test_rows_that_are_no_text_are_refused(token_ids, said):
    model = language_model("qwen3_next", pad_token_id=2)
    with pytest.raises(UserError, match=said):
        emt.from_transformers(model, token_ids)


def test_rows_of_different_length_are_not_padded():
    model = language_model("qwen3_next", pad_token_id=2)
    assert emt.from_transformers(model, [[2, 5, 9], [5, 2]]).recording.sizes["batch"] == 2
    model.config.pad_token_id = None
    assert emt.from_transformers(model, [[2, 5, 9], [5, 9, 2]]).recording.sizes["batch"] == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"layers": [1]}, "layers: expected layers with a memory, 0; got 1"),
        ({"layers": []}, "layers: expected at least one number; got none"),
        ({"heads": []}, "heads: expected at least one number; got none"),
        ({"heads": [4]}, "heads: expected numbers from 0 to 3; got 4"),
        ({"hidden_layer": 3}, "hidden_layer: expected one of 3 hidden states, the embedding's first; got 3"),
        ({"names": ["a"]}, "names: expected a tokenizer, or the text of each id up to 9; got list"),
        ({"asked": [[-1, 6]]}, "asked: expected ids of the text, or -1; got 6"),
        ({"induction": True, "asked": [[-1, 5]]}, "induction: expected no events of your own beside it"),
        ({"seeds": [1, 2]}, "seeds: expected one for each of 1 networks; got 2"),
        ({"tolerance": 1e-12}, "layer0_head.: recomputed output differs by .*, more than 1e-12"),
    ],
)
def test_what_does_not_fit_the_model_is_refused(options, said, model):
    with pytest.raises(UserError, match=said):
        emt.from_transformers(model, [[5, 9]], **options)


def test_channels_are_at_least_one():
    with pytest.raises(UserError, match="channels: must be at least 1; got 0"):
        emt.from_transformers(language_model("mamba"), random_text(), channels=0)


def test_models_without_a_known_recurrence_are_refused():
    with pytest.raises(
        UserError, match=r"models: .*known here \(torch_chunk.*xLSTMBackend\); LlamaForCausalLM calls"
    ):
        emt.from_transformers(language_model("llama"), random_text())
    with pytest.raises(UserError, match="models: expected language models of transformers; model 1 is GRU"):
        emt.from_transformers(nn.GRU(3, 4), random_text())
    with pytest.raises(UserError, match="models: expected at least one network"):
        emt.from_transformers([], random_text())


def test_members_of_other_sizes_are_refused(model):
    other = language_model("qwen3_next", linear_value_head_dim=12)
    with pytest.raises(
        UserError, match="models: expected members of one architecture; model 2 has memories of other"
    ):
        emt.from_transformers([model, other], random_text())


@pytest.mark.parametrize(("found", "said"), [("4.57.1", "found 4.57.1"), (None, "found none")])
def test_older_versions_are_refused(found, said, monkeypatch):
    def version(name):
        if found is None:
            raise recording.PackageNotFoundError
        return found

    monkeypatch.setattr(recording, "version", version)
    with pytest.raises(
        UserError, match=rf'expected transformers 5\.15 or newer \(pip install "emt-.*\[hf\]"\); {said}'
    ):
        emt.from_transformers(None, [[1]])
    found = "5.15.0"
    recording.check_version()


def test_a_log_that_is_too_large_is_refused_before_the_run(monkeypatch):
    """Mamba-2: 2 layers of 6 heads of 2 (20 + 16) + 3 numbers a step, 4 bytes each; 3 rows of 20 steps."""
    model, ids = language_model("mamba2"), random_text()
    bytes_of_layer = 4 * 3 * 20 * 6 * (2 * (20 + 16) + 3)
    run = emt.from_transformers(model, ids)
    assert sum(array.nbytes for array in memory_arrays(run).values()) == bytes_of_layer
    monkeypatch.setattr(layout, "MOST_LOGGED", 1.5 * bytes_of_layer)
    monkeypatch.setattr(recorder.Recorder, "record", lambda *_: pytest.fail("it ran"))
    with pytest.raises(
        UserError, match=r"layers: expected a log of at most 0\.0 GB; 2 layers need 0\.0 \(1 fit\)"
    ):
        emt.from_transformers(model, ids)


@pytest.mark.parametrize("family", ["qwen3_next", "mamba2"])
def test_a_state_from_before_is_refused(family):
    """Of several tokens the same function is handed a state; of one another function, or a state too."""
    model, ids = language_model(family).eval(), random_text()
    outputs = model(input_ids=ids, use_cache=True)
    cache = outputs.cache if family == "mamba2" else outputs.past_key_values
    for steps in (4, 1):
        said = "layer0: carries a state from before|layer0: computes its recurrence with mamba2_selective_state_update"
        with (
            pytest.raises(UserError, match=said),
            watched(model, Chosen(), lambda *_: None),
        ):
            model(input_ids=ids[:, :steps], use_cache=True, cache=cache)


def test_one_model_is_watched_at_a_time(model):
    with watched(model, Chosen(), lambda *_: None):
        with pytest.raises(UserError, match="another model is being recorded in this process"):
            emt.from_transformers(model, random_text())
        errors = []

        def elsewhere():
            try:
                emt.from_transformers(model, random_text())
            except UserError as error:
                errors.append(error)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert len(errors) == 1
    emt.from_transformers(model, random_text())


def test_what_is_random_is_refused(model):
    class Noisy(type(model)):
        def forward(self, *args, **kwargs):
            outputs = super().forward(*args, **kwargs)
            outputs.logits = outputs.logits + torch.randn(())
            return outputs

    model.__class__ = Noisy
    with pytest.raises(
        UserError, match=r"models: model 1: logits differ by .* between two runs: something is random"
    ):
        emt.from_transformers(model, random_text())
    model.__class__ = Noisy.__base__
    model.lm_head.weight.data[3] = torch.nan
    with pytest.raises(UserError, match="models: model 1: logits are not finite"):
        emt.from_transformers(model, random_text())


def test_a_call_with_unknown_arguments_is_refused(model, monkeypatch):
    module = sys.modules[type(model).__module__]

    def other(q, k, v, **_):
        return v, None

    monkeypatch.setattr(module, "torch_chunk_gated_delta_rule", other)
    with pytest.raises(
        UserError, match="layer0: calls its recurrence in a way that is not known here: missing a req"
    ):
        emt.from_transformers(model, random_text())
