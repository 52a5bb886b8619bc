"""The sweep command, from the command line to the table."""

import csv
import re

import pytest

from emt.commands import sweep

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

TRIAL = [
    "--num_models",
    "1",
    "--epochs",
    "1",
    "--epoch_batches",
    "2",
    "--engine",
    "inline",
    "--accelerator",
    "cpu",
]


def test_one_command_trains_and_writes_the_table_and_the_same_command_is_done_at_once(tmp_path, capsys):
    for _ in range(2):
        assert sweep.main(["repeat_copy", "--output_dir", str(tmp_path), *TRIAL]) == 0
        printed = capsys.readouterr().out
        assert "repeat_copy: 1 of 1 models done, median validation accuracy 0." in printed
    [row] = csv.DictReader((tmp_path / "repeat_copy" / "members.csv").read_text().splitlines())
    assert (row["experiment"], row["model"], row["status"], row["step"]) == (
        "repeat_copy",
        "model-1",
        "finished",
        "2",
    )


def test_a_shard_of_the_grid_does_its_part(tmp_path, capsys):
    assert sweep.main(["all_linear_vb", "--output_dir", str(tmp_path), *TRIAL, "--shard", "7/96"]) == 0
    rows = list(csv.DictReader((tmp_path / "all_linear_vb" / "members.csv").read_text().splitlines()))
    assert len(rows) == 96
    [done] = [row for row in rows if row["status"] != "unfinished"]
    assert done["experiment"] == rows[6]["experiment"] == "T4_hidden128_l2_0_threshold0.9"
    assert {"task_id", "hidden_dim", "l2_penalty", "curriculum_threshold"} < set(done)
    assert "T4_hidden128_l2_0_threshold0.9: 1 of 1 models done" in capsys.readouterr().out


def test_what_training_costs_is_said_and_nothing_is_trained(tmp_path, capsys):
    words = [
        "recall/induction",
        "--runs",
        "gru",
        "mamba2_conv",
        "--num_models",
        "4",
        "--epochs",
        "3",
        "--cost",
    ]
    assert sweep.main([*words, "--output_dir", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    told = [
        re.fullmatch(r"(\w+): (\S+) ms .* at most (\S+) minutes \(4 members, 300 steps\)", line)
        for line in lines
    ]
    assert [found[1] for found in told] == ["mamba2_conv", "gru"]
    for _, step, minutes in (found.groups() for found in told):
        assert float(step) > 0
        assert float(minutes) == pytest.approx(4 * 300 * float(step) / 60_000, rel=0.1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nonsense"], "invalid choice: 'nonsense'"),
        (["ethereal/nonsense"], "invalid choice: 'ethereal/nonsense'"),
        (["ethereal"], "invalid choice: 'ethereal'"),
        (
            ["ethereal/table", "--rates", "0.1"],
            "--rates: applies to the map only; table is defined in configs.py",
        ),
        (["catbabi/main"], "the following arguments are required: --data"),
        (["catbabi/main", "--data", "nowhere"], "--data: .* published at"),
        (["repeat_copy", "--num_models", "0"], "--num_models: "),
        (["repeat_copy", "--engine", "dask"], "--scheduler: expected the address"),
        (["repeat_copy", "--shard", "3/2"], "--shard: must be I/N"),
    ],
)
def test_bad_input_is_refused(words, message, tmp_path, refused):
    with refused(message):
        sweep.main([*words, "--output_dir", str(tmp_path)])
