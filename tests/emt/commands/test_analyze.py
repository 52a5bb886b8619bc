"""The command line of analyze.py."""

import gc
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from signals import signal_at

from analysis import COMMANDS
from analysis.variables.results import VariableMemories
from emt import locks, trace
from emt.commands import analyze
from emt.commands.main import main as emt
from emt.files import sha256

SCRIPT = Path(__file__).parents[3] / "analyze.py"


def commands(subject):
    return [command.name for command in COMMANDS.values() if command.takes == subject]


@pytest.fixture
def summary(write_summary, tmp_path):
    return write_summary(tmp_path / "experiment", 11, missing=(1, 3), nan_accuracy=(2,))


@pytest.fixture
def recorded(summary, make_recording):
    """Return the summary of an experiment with a recorded run of length 11."""
    trace.save(make_recording(trials=5), summary.parent / "traces" / "seq11.nc")
    return summary


@pytest.fixture(autouse=True)
def _work_in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EXPERIMENT_OUTPUT_DIR", raising=False)


@pytest.fixture
def no_figures(monkeypatch):
    """Leave out what takes most of the time."""
    monkeypatch.setattr("analysis.figures.style.save_figure", lambda *_: [])


def refuse(capsys, *arguments):
    """Run, expect exit code 2 and one line on stderr; return it."""
    assert emt(["analyze", *map(str, arguments)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


OTHER_TRIALS = {"variables", "decode", "trajectories", "geometry"}
"""Commands that need another task, or more trials."""


@pytest.mark.parametrize("command", sorted({*commands("population"), *commands("recording")} - OTHER_TRIALS))
def test_results_go_beside_the_summary_file_each_table_twice_each_figure_twice(recorded, command, capsys):
    assert emt(["analyze", command, "--summary_file", str(recorded)]) == 0
    folder = recorded.parent / f"{command}_analysis"
    suffixes = {}
    for path in folder.iterdir():
        suffixes.setdefault(path.stem, set()).add(path.suffix)
    assert any(".csv" in kinds for kinds in suffixes.values())
    assert any(".png" in kinds for kinds in suffixes.values())
    for kinds in suffixes.values():
        assert (".csv" in kinds) <= (".json" in kinds)
        assert (".png" in kinds) == (".pdf" in kinds)
    printed = capsys.readouterr().out
    if command in commands("population"):
        assert "skipped (no spectrum at that length): model-1, model-3" in printed
    else:
        assert "experiment: 3 models on 5 sequences of 11 steps" in printed
    assert str(folder) in printed


def test_labels_are_decoded_where_each_class_has_trials_enough(recorded, make_recording, capsys, tmp_path):
    given = ["decode", "--summary_file", recorded, "--label", "asked", "--permutations", "39", "--matrix"]
    assert re.search(r"--folds: asked \d has \d trials; 2 folds need 4 of each class", refuse(capsys, *given))
    trace.save(make_recording(trials=40), recorded.parent / "traces" / "seq11.nc")
    assert emt(["analyze", *map(str, given)]) == 0
    assert "asked (4 classes, chance .25; n = 3 members" in capsys.readouterr().out
    folder = recorded.parent / "decode_analysis"
    names = ("times", "members", "matrix")
    assert {path.name for path in folder.glob("*.csv")} >= {f"decode_{name}.csv" for name in names}
    assert (folder / "decode.png").is_file()


def test_conditions_are_followed_and_compared_where_they_have_trials_enough(
    recorded, make_recording, capsys, tmp_path
):
    given = ["--summary_file", recorded, "--label", "asked", "--permutations", "19"]
    line = refuse(capsys, "trajectories", *given)
    assert re.search(r"--label: asked \d has \d trials; 2 folds need 4 of each class", line)
    line = refuse(capsys, "geometry", *given)
    assert re.search(r"--folds: asked \d has \d trials; 2 folds need 4 of each class", line)
    trace.save(make_recording(trials=40), recorded.parent / "traces" / "seq11.nc")
    model = tmp_path / "order.csv"
    model.write_text(
        ",0,1,2,3\n" + "\n".join(f"{i}," + ",".join(str(abs(i - j)) for j in range(4)) for i in range(4))
    )
    assert emt(["analyze", "trajectories", *map(str, given), "--demix"]) == 0
    printed = capsys.readouterr().out
    assert "asked (4 conditions; n = 3 members): members share" in printed
    assert (
        emt(["analyze", "geometry", *map(str, given), "--times", "3", "10", "--model", "asked", str(model)])
        == 0
    )
    printed = capsys.readouterr().out
    assert "asked (4 conditions; n = 3 members)\nstep 3: " in printed
    assert "order " in printed
    home = recorded.parent
    names = {path.name for path in (home / "trajectories_analysis").iterdir()}
    tables = ("lines", "axes", "members", "shared", "speed", "dimension", "demixed", "demixed_members")
    assert {f"trajectories_{name}.csv" for name in tables} | {"trajectories_member.png"} <= names
    names = {path.name for path in (home / "geometry_analysis").iterdir()}
    wanted = {"geometry_distances.csv", "geometry_models.csv", "geometry_members.csv"}
    assert wanted | {"geometry_dissimilarities.npy", "geometry.pdf", "geometry_models.png"} <= names
    line = refuse(capsys, "geometry", *given, "--model", str(tmp_path / "none.csv"))
    assert f"--model: no such file: {tmp_path / 'none.csv'}" in line


def test_variable_memories_need_a_linear_task_and_come_with_a_film(
    summary, make_circuits, make_recording, capsys, monkeypatch
):
    monkeypatch.setattr("analysis.figures.variables.find.MOVE", 1)
    headline = VariableMemories.headline
    monkeypatch.setattr(VariableMemories, "headline", lambda self: f"{headline(self)}\nmodel-7 not found")
    traces = summary.parent / "traces"
    trace.save(make_circuits({"seq_length": 2, "input_dim": 2}, units=7)[0], traces / "seq2.nc")
    trace.save(make_recording(members=1, trials=2), traces / "seq11.nc")
    refused = refuse(capsys, "variables", "--summary_file", summary, "--seq_length", 11)
    assert "task 'unknown' has no linear operator" in refused
    assert (
        emt(["analyze", "variables", "--summary_file", str(summary), "--seq_length", "2", "--model", "3"])
        == 0
    )
    names = {path.name for path in (summary.parent / "variables_analysis").iterdir()}
    assert {
        "variables_members.csv",
        "variables_basis.npy",
        "variables_trial.pdf",
        "variables_film.gif",
    } <= names
    printed = capsys.readouterr().out
    assert "variable memories in 2 of 2 members" in printed
    assert "\nmodel-7 not found\n" in printed


def horizons(path, horizon):
    content = json.loads(path.read_text())
    content["evaluation_config"] = {"evaluation": {"test_horizon": horizon}}
    path.write_text(json.dumps(content))


def test_a_folder_that_another_analysis_writes_is_refused_with_its_name(summary, capsys):
    folder = summary.parent / "eigenvalue_analysis"
    with locks.lock(folder / ".lock"):
        line = refuse(capsys, "eigenvalue", "--summary_file", str(summary))
    assert f"{folder}: in use by process {os.getpid()} on " in line
    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("second", [100, 200])
def test_accuracies_over_different_horizons_are_not_compared(write_summary, tmp_path, capsys, second):
    paths = [write_summary(tmp_path / name, 6, seed=seed) for seed, name in enumerate("ab")]
    for path, horizon in zip(paths, (100, second), strict=True):
        horizons(path, horizon)
    assert emt(["analyze", "compare", "--summary_files", *map(str, paths)]) == 0
    said = (
        "Accuracies are not compared: sets differ in number of output steps (a: 100, b: 200)."
        in capsys.readouterr().out
    )
    tests = pd.read_csv(tmp_path / "comparison_analysis" / "comparison_differences.csv")
    assert said == (second != 100) == ("accuracy" not in set(tests["statistic"]))


@pytest.mark.usefixtures("no_figures")
def test_checkpoints_of_several_horizons_are_refused(write_summary, tmp_path, capsys):
    write_summary(tmp_path / "run", 4)
    paths = {n: write_summary(tmp_path / "run" / "checkpoints" / f"step-{n}", 4) for n in (0, 50)}
    assert emt(["analyze", "emergence", "--summary_file", str(tmp_path / "run")]) == 0
    horizons(paths[50], 7)
    line = refuse(capsys, "emergence", "--summary_file", tmp_path / "run")
    assert (
        "step 50: expected an evaluation in the conditions of the first checkpoint; these differ in number of output "
        "steps (first checkpoint: unknown, step 50: 7)" in line
    )


@pytest.mark.usefixtures("no_figures")
def test_without_a_length_eight_or_the_longest_is_taken(write_summary, tmp_path, capsys):
    for lengths, taken in (((3, 8, 9), 8), ((3, 4), 4)):
        path = write_summary(tmp_path / str(taken), 2, lengths=lengths)
        assert emt(["analyze", "eigenvalue", "--summary_file", str(path)]) == 0
        assert f"2 models at sequence length {taken} " in capsys.readouterr().out
    assert "(3, 4); got 5" in refuse(capsys, "eigenvalue", "--summary_file", path, "--seq_length", 5)


@pytest.mark.usefixtures("no_figures")
def test_the_report_shows_one_length_and_the_files_of_the_last_options(write_summary, tmp_path, capsys):
    path = write_summary(tmp_path / "run", 4, lengths=(3, 4))
    for words in (
        "eigenvalue --seq_length 3",
        "embedding --seq_length 4",
        "embedding --seq_length 4 --method mds",
    ):
        assert emt(["analyze", *words.split(), "--summary_file", str(path)]) == 0
    assert emt(["analyze", "report", "--summary_file", str(path)]) == 0
    assert "analyses shown: embedding; missing: eigenvalue" in capsys.readouterr().out
    page = (tmp_path / "run" / "report.html").read_text()
    assert "mds_embedding" in page
    assert "pca_embedding" not in page
    assert "does not show at length 4" in page
    assert "eigenvalue --summary_file" in page
    assert "evaluation_summary.json --seq_length 4" in page
    assert emt(["analyze", "report", "--summary_file", str(path), "--seq_length", "3"]) == 0
    assert "analyses shown: eigenvalue; missing: embedding" in capsys.readouterr().out


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    ("asked", "stays"), [({}, False), ({"command": "embedding"}, True), ({"options": {"seed": 1}}, True)]
)
def test_what_a_command_no_longer_makes_goes_and_all_else_stays(summary, asked, stays):
    arguments = ["eigenvalue", "--summary_file", str(summary)]
    assert emt(["analyze", *arguments]) == 0
    folder = summary.parent / "eigenvalue_analysis"
    about = json.loads((folder / "about.json").read_text())
    made = set(about["files"])
    for name in ("earlier.png", "notes.txt"):
        (folder / name).write_text("x")
    about["sha256"] |= {"earlier.png": sha256(b"x")}
    (folder / "about.json").write_text(json.dumps(about | asked))
    assert emt(["analyze", *arguments]) == 0
    assert made | {"notes.txt"} <= {path.name for path in folder.iterdir()}
    assert (folder / "earlier.png").exists() == stays
    assert summary.exists()


@pytest.mark.usefixtures("no_figures")
def test_statistics_carry_the_names_of_their_models(summary):
    emt(["analyze", "eigenvalue", "--summary_file", str(summary)])
    folder = summary.parent / "eigenvalue_analysis"
    names = [f"model-{k}" for k in (2, 4, 5, 6, 7, 8, 9, 10, 11)]
    models = json.loads((folder / "eigenvalue_statistics.json").read_text())["models"]
    assert [m["model_name"] for m in models] == names
    assert pd.read_csv(folder / "eigenvalue_statistics.csv")["model_name"].tolist() == names


@pytest.mark.usefixtures("no_figures")
def test_memories_are_scored_in_one_line(recorded, capsys):
    assert (
        emt(["analyze", "match", "--summary_file", str(recorded), "--trials", "1", "--memory", "fast"]) == 0
    )
    assert (
        "memory fast: the largest weight is on the queried item in 100.0 % of queries"
        in capsys.readouterr().out
    )
    scores = pd.read_csv(recorded.parent / "match_analysis" / "match_scores.csv")
    assert scores["model_name"].tolist() == ["model-1", "model-3", "model-5"]
    assert (scores["score"] == 1).all()
    assert "--memory: must be one of fast; got 'slow'" in refuse(
        capsys, "memory", "--summary_file", recorded, "--memory", "slow"
    )


@pytest.mark.parametrize("command", ["match", "memory"])
def test_a_model_without_memory_is_refused_and_those_with_one_are_named(recorded, capsys, command):
    path = recorded.parent / "traces" / "seq11.nc"
    bare = trace.load(path)
    del bare["memory"]
    bare.attrs["about"] = bare.attrs["about"].replace('"planted"', '"rnn"')
    trace.save(bare, path)
    line = refuse(capsys, command, "--summary_file", recorded)
    assert re.search(
        rf"{command}: model 'rnn' has no associative memory; models that have one: (\w+, )*fw(,|$)", line
    )
    assert not re.search(r"\blstm\b", line.partition("models that have one")[2])


def test_recorded_runs_are_found_by_length(recorded, make_recording, capsys):
    folder = recorded.parent / "traces"
    assert "(11); got 7" in refuse(capsys, "match", "--summary_file", recorded, "--seq_length", "7")
    trace.save(make_recording(members=1, trials=2, pairs=2), folder / "seq7.nc")
    assert "(7, 11); got 8" in refuse(capsys, "match", "--summary_file", recorded, "--seq_length", "8")
    (folder / "seq7.nc").write_bytes(b"broken")
    assert "seq7.nc: expected a whole NetCDF file" in refuse(
        capsys, "match", "--summary_file", recorded, "--seq_length", "7"
    )
    for file in folder.iterdir():
        file.unlink()
    (folder / "sequence.nc").touch()
    assert "expected recorded runs in" in refuse(capsys, "match", "--summary_file", recorded)


def test_embedding_takes_its_flags_and_makes_nested_folders(summary, tmp_path):
    out = tmp_path / "a" / "b"
    flags = "--method mds --signature_type statistics --distance_metric cityblock --color_by spectral_error"
    code = analyze.main(
        [
            "embedding",
            "--summary_file",
            str(summary),
            "--output_dir",
            str(out),
            "--annotate_outliers",
            *flags.split(),
        ]
    )
    assert code == 0
    assert {"mds_embedding.npy", "mds_embedding.png", "distance_matrix.npy"} <= {
        p.name for p in out.iterdir()
    }


@pytest.mark.usefixtures("no_figures")
def test_results_of_other_sets_stay(write_summary, tmp_path, monkeypatch, capsys):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    a, b, c = (str(write_summary(tmp_path / name)) for name in "abc")
    for second in (b, c, b):
        assert emt(["analyze", "compare", "--summary_files", a, second]) == 0
    folders = sorted(path.name for path in Path().iterdir())
    assert folders == ["comparison_analysis", "comparison_analysis_2"]
    told = [json.loads((Path(name) / "about.json").read_text())["summaries"] for name in folders]
    assert told == [[f"../../{x}/evaluation_summary.json" for x in pair] for pair in ("ab", "ac")]
    assert f"tables in {folders[1]}: " in capsys.readouterr().out


@pytest.mark.usefixtures("no_figures")
def test_compare_names_sets_that_have_no_label(write_summary, tmp_path, capsys):
    files = [str(write_summary(tmp_path / name, 4, noise=noise)) for name, noise in (("a", 0.1), ("b", 0.3))]
    assert emt(["analyze", "compare", "--summary_files", *files, "--labels", "quiet"]) == 0
    assert (tmp_path / "comparison_analysis" / "comparison_statistics.json").exists()
    printed = capsys.readouterr().out
    assert "quiet: 4 models" in printed
    assert "Set 2: 4 models" in printed


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("given", ["file", "folder"])
def test_one_experiment_has_its_name_and_keeps_what_is_found(recorded, tmp_path, capsys, given):
    """Beside an experiment, where `report` looks for it; several have no such place (the test below)."""
    path = recorded if given == "file" else recorded.parent
    assert emt(["analyze", "similarity", "--summary_file", str(path)]) == 0
    printed = capsys.readouterr().out
    assert f"{recorded.parent.name}: 3 models on 5 sequences" in printed
    assert "Set 1" not in printed
    assert (recorded.parent / "similarity_analysis" / "similarity_cka.npy").exists()
    assert not (tmp_path / "similarity_analysis").exists()
    assert emt(["analyze", "similarity", "--summary_file", str(path), "--labels", "mine"]) == 0
    assert "mine: 3 models" in capsys.readouterr().out


def test_states_of_experiments_on_the_same_inputs_are_compared(
    recorded, make_recording, write_summary, tmp_path, capsys
):
    other = write_summary(tmp_path / "other", 3)
    trace.save(make_recording(members=2, trials=5), other.parent / "traces" / "seq11.nc")
    assert (
        emt(["analyze", "similarity", "--summary_files", str(recorded), str(other), "--labels", "first"]) == 0
    )
    printed = capsys.readouterr().out
    assert "first: 3 models on 5 sequences of 11 steps" in printed
    assert "first (n = 3), Set 2 (n = 2); 55 states" in printed
    assert not (recorded.parent / "similarity_analysis").exists()
    names = {path.name for path in (tmp_path / "similarity_analysis").iterdir()}
    assert {"similarity_agreement.csv", "similarity_cka.npy", "similarity_distances.png"} <= names
    trace.save(make_recording(members=2, trials=4), other.parent / "traces" / "seq11.nc")
    assert "evaluated on the same inputs" in refuse(capsys, "similarity", "--summary_files", recorded, other)
    twice = ["--summary_files", recorded, recorded, "--labels", "a", "a"]
    assert "--labels: labels must all differ; got a, a" in refuse(capsys, "similarity", *twice)


def test_labels_must_fit_the_sets(summary, capsys):
    line = refuse(capsys, "compare", "--summary_files", summary, "--labels", "a", "b")
    assert "--labels: expected at most one label for each of 1 summary files; got 2" in line
    assert "differ" in refuse(capsys, "compare", "--summary_files", summary, summary, "--labels", "a", "a")
    for empty in ("", "  "):
        line = refuse(capsys, "compare", "--summary_files", summary, summary, "--labels", "a", empty)
        assert line.endswith("--labels: expected labels with at least one character; got an empty one")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], ["Set 1", "Set 2", "Set 3"]),
        (["Set 2"], ["Set 2", "Set 2 (2)", "Set 3"]),
        (["Set 3", "a"], ["Set 3", "a", "Set 3 (2)"]),
    ],
)
def test_labels_that_are_not_given_never_meet_one_that_is(given, expected):
    assert analyze._labels(given, 3) == expected


@pytest.mark.parametrize("command", ["eigenvalue", "compare", "report"])
@pytest.mark.parametrize("inside", [False, True])
def test_results_that_would_go_into_a_file_are_refused_before_any_work(
    summary, tmp_path, capsys, command, inside
):
    (tmp_path / "file").write_text("mine")
    folder = tmp_path / "file" / "x" if inside else tmp_path / "file"
    flag = "--summary_files" if command == "compare" else "--summary_file"
    line = refuse(capsys, command, flag, summary, "--output_dir", folder)
    assert line.endswith(f"--output_dir: expected a folder; {tmp_path / 'file'} is a file")
    assert (tmp_path / "file").read_text() == "mine"


COMMANDS_OF_A_SUMMARY = [
    command.name
    for command in COMMANDS.values()
    if command.takes in ("population", "populations", "experiments")
]


@pytest.mark.parametrize("command", COMMANDS_OF_A_SUMMARY)
def test_two_summaries_put_into_one_are_refused_by_the_name_that_repeats(summary, capsys, command):
    content = json.loads(summary.read_text())
    content["metrics"] += [m for m in content["metrics"] if m["model_name"] in ("model-4", "model-7")]
    summary.write_text(json.dumps(content))
    flag = "--summary_files" if command in ("compare", "similarity", "degeneracy") else "--summary_file"
    line = refuse(capsys, command, flag, summary)
    assert f"{summary}: expected each model once; got model-4 (2 times), model-7 (2 times)" in line


@pytest.mark.usefixtures("no_figures")
def test_the_only_length_is_taken_and_a_wrong_one_says_which_there_are(write_summary, tmp_path, capsys):
    one, two = (
        write_summary(tmp_path / "one", 3, lengths=(5,)),
        write_summary(tmp_path / "two", 3, lengths=(3, 4)),
    )
    assert emt(["analyze", "eigenvalue", "--summary_file", str(one)]) == 0
    capsys.readouterr()
    assert "(3, 4); got 8" in refuse(capsys, "eigenvalue", "--summary_file", two, "--seq_length", "8")
    assert "(5); got 7" in refuse(capsys, "eigenvalue", "--summary_file", one, "--seq_length", "7")
    assert emt(["analyze", "eigenvalue", "--summary_file", str(two), "--seq_length", "4"]) == 0


@pytest.mark.usefixtures("no_figures")
def test_relative_files_are_looked_up_in_the_experiment_folder(write_summary, tmp_path, monkeypatch):
    write_summary(tmp_path / "runs" / "mine", 3)
    monkeypatch.setenv("EXPERIMENT_OUTPUT_DIR", str(tmp_path / "runs"))
    assert emt(["analyze", "eigenvalue", "--summary_file", "mine/evaluation_summary.json"]) == 0
    assert (tmp_path / "runs" / "mine" / "eigenvalue_analysis").is_dir()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["embedding", "--summary_file", "X", "--methods", "pca"], "--methods"),
        (["embedding", "--summary_file", "X", "--meth", "pca"], "--meth"),
        (["embedding", "--summary_file", "X", "--method", "umap"], "umap"),
        (["embedding", "--summary_file", "X", "--distance_metric", "nearest"], "--distance_metric"),
        (["eigenvalue", "--summary_file", "X", "--seq_length", "eight"], "--seq_length"),
        (["eigenvalue"], "--summary_file"),
        (["eigenvalues", "--summary_file", "X"], "eigenvalues"),
        (["eigenvalue", "--summary_file", "missing.json"], "--summary_file: no such file: missing.json"),
        (["compare", "--summary_file", "missing.json"], "--summary_files: no such file: missing.json"),
        (
            ["persistence", "--summary_files", "X", "X", "X"],
            "--summary_file: persistence analyses one summary; got 3 (compare, similarity",
        ),
    ],
)
def test_bad_input_gets_one_line(summary, capsys, arguments, message):
    assert message in refuse(capsys, *[str(summary) if a == "X" else a for a in arguments])


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("flag", ["--summary_file", "--summary_files"])
def test_every_command_takes_either_flag(command, flag):
    assert analyze.build_parser().parse_args([command, flag, "a.json"]).summaries == ["a.json"]


def test_both_flags_give_the_same_result(summary, capsys):
    assert emt(["analyze", "eigenvalue", "--summary_file", str(summary)]) == 0
    first = capsys.readouterr().out
    assert emt(["analyze", "eigenvalue", "--summary_files", str(summary)]) == 0
    assert capsys.readouterr().out == first


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not valid JSON"),
        ('{"metrics": [', "not valid JSON"),
        ('{"metrics": []}', "the population is empty"),
        ("[1]", "expected an evaluation summary with a list 'metrics'; found none"),
        ('{"metrics": [{"accuracy": 1}]}', "model_name"),
    ],
)
def test_broken_summaries_get_one_line(tmp_path, capsys, text, message):
    path = tmp_path / "evaluation_summary.json"
    path.write_text(text)
    line = refuse(capsys, "eigenvalue", "--summary_file", path)
    assert "evaluation_summary.json" in line
    assert message in line


def test_two_models_cannot_be_embedded(write_summary, tmp_path, capsys):
    path = write_summary(tmp_path / "few", 2)
    assert "at least 3 models" in refuse(capsys, "embedding", "--summary_file", path)


def test_an_output_folder_that_cannot_be_made_gets_one_line(summary, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert "file" in refuse(
        capsys, "eigenvalue", "--summary_file", summary, "--output_dir", tmp_path / "file" / "x"
    )


def test_a_failing_figure_does_not_cost_the_tables(summary, monkeypatch):
    def fail(*_):
        raise RuntimeError("no figure")

    monkeypatch.setattr("analysis.figures.spectra.eigenvalue.draw", fail)
    with pytest.raises(RuntimeError, match="no figure"):
        emt(["analyze", "eigenvalue", "--summary_file", str(summary)])
    assert (summary.parent / "eigenvalue_analysis" / "eigenvalue_statistics.csv").exists()


def test_interruption_is_said_in_one_line(summary, monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("emt.commands.subjects.read_summary", interrupt)
    assert emt(["analyze", "eigenvalue", "--summary_file", str(summary)]) == 130
    assert len(capsys.readouterr().err.splitlines()) == 1


# An interruption may leave a file that is being read to the garbage collector.
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore:unclosed:ResourceWarning"
)
@pytest.mark.slow
def test_signals_at_random_moments_leave_whole_files(summary, tmp_path, capsys):
    arguments = ["analyze", "eigenvalue", "--summary_file", str(summary), "--output_dir"]
    assert emt([*arguments, "whole"]) == 0
    with signal_at() as calls:
        emt([*arguments, "again"])
    expected = {path.name: path.read_bytes() for path in Path("whole").iterdir()}
    rng, tables = np.random.default_rng(3), []
    # Most calls are made for figures: moments are even in the logarithm.
    for moment, exponent in enumerate(rng.uniform((0.2, 0.4, 0.6, 0.8), (0.4, 0.6, 0.8, 1))):
        capsys.readouterr()
        number = (signal.SIGINT, signal.SIGTERM)[moment % 2]
        with signal_at(int(calls[0] ** exponent), number):
            assert emt([*arguments, f"cut-{moment}"]) == 128 + number
        assert capsys.readouterr().err == "emt analyze: interrupted; rerun the same command to resume\n"
        found = {path.name: path.read_bytes() for path in Path(f"cut-{moment}").glob("[!a]*")}
        assert found.items() <= expected.items(), "what is there is whole"
        tables.append("eigenvalue_statistics.csv" in found)
    # What an interruption left open is collected here, where its warning is expected, and not at the session's end.
    gc.collect()
    assert len(set(tables)) == 2, "some moments lie before the tables and some after"


def test_without_a_command_help_is_printed(capsys):
    assert (
        emt(
            [
                "analyze",
            ]
        )
        == 1
    )
    assert "eigenvalue" in capsys.readouterr().out


def test_help_loads_no_analysis():
    code = (
        f"import sys; sys.path.insert(0, {str(SCRIPT.parent)!r}); sys.argv = ['analyze.py', 'embedding', '--help']\n"
        "import analyze\n"
        "try:\n    analyze.main()\n"
        "finally:\n    print(sorted({'numpy', 'pandas', 'matplotlib', 'torch'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--annotate_outliers" in result.stdout
    assert result.stdout.splitlines()[-1] == "[]"


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    ("name", "recorded"),
    [
        ("thesis.tex", b"x"),
        ("thesis.pdf", b"another"),
        ("link.csv", b"x"),
        ("../evaluation_summary.json", b"x"),
    ],
)
def test_only_what_the_command_wrote_is_deleted(summary, name, recorded):
    arguments = ["eigenvalue", "--summary_file", str(summary)]
    assert emt(["analyze", *arguments]) == 0
    folder = summary.parent / "eigenvalue_analysis"
    (summary.parent / "elsewhere.csv").write_text("x")
    (folder / "link.csv").symlink_to(summary.parent / "elsewhere.csv")
    for own in ("thesis.tex", "thesis.pdf", "old.csv"):
        (folder / own).write_text("x")
    about = json.loads((folder / "about.json").read_text())
    about["sha256"] |= {name: sha256(recorded), "old.csv": sha256(b"x")}
    (folder / "about.json").write_text(json.dumps(about))
    assert emt(["analyze", *arguments]) == 0
    assert (folder / name).exists()
    assert (folder / "old.csv").exists() == name.startswith(".."), (
        "a file with a wrong name is not believed at all"
    )
