"""A mistyped flag or choice is refused with the name that it may have meant, on every command line."""

import importlib

import pytest

from analysis import COMMANDS
from emt.commands import analyze, evaluate, import_run, main, selftest, sweep, train
from emt.errors import UserError

CASES = [
    (train.main, "--experiment_name a --seq_length 8 --lerning_rate 0.1", "did you mean --learning_rate?"),
    (train.main, "--experiment_nam a --seq_length 8", "did you mean --experiment_name?"),
    (train.main, "--experiment_name=a --seq_lenght=8", "did you mean --seq_length?"),
    (train.main, "--experiment_name a --task flipflop", "did you mean flip_flop?"),
    (train.main, "--experiment_name a --model_type ltsm", "did you mean lstm?"),
    (train.main, "--experiment_name a --seq_length 8 --optimizer adan", "did you mean adam?"),
    (train.main, "--experiment_name a --task flip_flop --step 3 --puls_rate 0.1", "did you mean --steps?"),
    (train.main, "--experiment_name a --seq_length 8 --pulse_rate 0.1", "; --task flip_flop has it"),
    (train.main, "--experiment_name a --seq_length 8 --steps 9", "did you mean --training_steps?"),
    (train.main, "--experiment_name a --seq_length 8 --identity_scale 1", "; --model_type irnn has it"),
    (evaluate.main, "--models_dir a --test_horizn 5", "did you mean --test_horizon?"),
    (analyze.main, "eigenvalu --summary_file a", "did you mean eigenvalue?"),
    (sweep.main, "repeat_cpy", "did you mean repeat_copy?"),
    (sweep.main, "repeat_copy --num_model 3", "did you mean --num_models?"),
    (import_run.main, "a --output_dr b", "did you mean --output_dir?"),
    (selftest.main, "--calibrat", "did you mean --calibrate?"),
    *(
        (importlib.import_module(f"experiments.{name}").main, words, message)
        for name, words, message in (
            ("catbabi.sweep", "main --dat a", "did you mean --data?"),
            ("associative_retrieval.train", "--num_model 3", "did you mean --num_models?"),
            ("ethereal.train", "--num_model 3", "did you mean --num_models?"),
            ("mutants.__main__", "--cont 3", "did you mean --count?"),
            ("stress.__main__", "--kill 3", "did you mean --kills?"),
        )
    ),
    *((analyze.main, f"{name} --summary_fil a", "did you mean --summary_file") for name in COMMANDS),
]


@pytest.mark.parametrize(("command", "words", "message"), CASES, ids=[words for _, words, _ in CASES])
def test_what_was_meant_is_said(command, words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as refusal:
        command(words.split())
    assert message in str(refusal.value)


@pytest.mark.parametrize("words", ["--experiment_name a --seq_length 8 --chanels 3", "--experiment_name a"])
def test_nothing_is_guessed_where_no_name_is_near(words):
    with pytest.raises(UserError) as refusal:
        train.main(words.split())
    assert "did you mean" not in str(refusal.value)


def test_fields_of_a_configuration_and_commands_have_suggestions_too(tmp_path, capsys):
    file = tmp_path / "config.json"
    file.write_text('{"task": {"seq_length": 8}, "model": {}, "training": {"lerning_rate": 0.1}}')
    with pytest.raises(
        UserError, match=r"lerning_rate: no such field; did you mean learning_rate\? \(.*, line 1\)"
    ):
        train.main(["--experiment_name", "a", "--config", str(file)])
    assert main.main(["evalute"]) == 2
    assert "did you mean evaluate?" in capsys.readouterr().err
