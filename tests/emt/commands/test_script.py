"""How scripts end: one line where something fails, and no complaint of a reader who leaves."""

import errno
import os
import re
import shlex
import signal
import subprocess
from pathlib import Path

import pytest
from command_line import TINY, command, refuse, start

from emt.commands import train as train_multiple
from emt.commands.script import run_script
from emt.errors import UserError

pytestmark = pytest.mark.usefixtures("empty_folder")


@pytest.mark.parametrize(
    ("script", "words", "message"),
    [
        (
            "train_multiple",
            "--experiment_name a/b --seq_length 8",
            "--experiment_name: must be a plain folder name",
        ),
        ("evaluate_multiple", "--models_dir missing", "--models_dir: no such file: missing"),
        ("analyze", "eigenvalue --summary_file missing.json", "--summary_file: no such file: missing.json"),
    ],
)
def test_every_script_refuses_in_one_line(script, words, message):
    assert message in refuse(script, *words.split())
    assert os.listdir() == [], "a refused command leaves nothing behind"


@pytest.mark.parametrize("script", ["train_multiple", "evaluate_multiple"])
def test_a_gpu_where_there_is_none_is_refused(script, make_run):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    words = ["--experiment_name", "a", *TINY] if script == "train_multiple" else ["--models_dir", make_run()]
    assert "--accelerator: expected a GPU; torch finds none here" in refuse(
        script, *words, "--accelerator", "gpu"
    )
    assert os.listdir() == []


@pytest.mark.parametrize(
    ("number", "refusal"), [("ENOSPC", "no space left on the disk"), ("EDQUOT", "the disk quota is used up")]
)
def test_a_full_disk_gets_one_line(monkeypatch, capsys, number, refusal):
    def full(*_):
        raise OSError(getattr(errno, number), os.strerror(getattr(errno, number)))

    monkeypatch.setattr("emt.runs.os.fsync", full)
    code = run_script("train_multiple.py", lambda: train_multiple.main(["--experiment_name", "a", *TINY]))
    assert code == 2
    said = capsys.readouterr().err
    assert re.fullmatch(rf"train_multiple\.py: a/config\.json: {refusal}; free some .*\n", said)


@pytest.mark.parametrize(
    ("words", "unbuffered", "code"),
    [
        ("eigenvalue --summary_file SUMMARY", "", 0),
        ("eigenvalue --summary_file SUMMARY", "1", 141),
        ("--help", "", 0),
    ],
)
def test_whoever_reads_the_lines_may_stop(write_summary, tmp_path, monkeypatch, words, unbuffered, code):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    words = words.replace("SUMMARY", str(write_summary(tmp_path, 2))).split()
    with start("analyze", *words) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(60) == code


def test_a_script_does_without_standard_output(write_summary, tmp_path):
    words = shlex.join(command("analyze", "eigenvalue", "--summary_file", write_summary(tmp_path, 2)))
    done = subprocess.run(f"{words} >&-", shell=True, capture_output=True, text=True, check=False)
    # On a busy machine there are lines of progress.
    assert [line for line in done.stderr.splitlines() if " so far" not in line] == []
    assert done.returncode == 0
    assert (tmp_path / "eigenvalue_analysis" / "eigenvalue_statistics.csv").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_standard_output_on_a_full_disk_gets_one_line(write_summary, tmp_path, monkeypatch, unbuffered):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    words = command("analyze", "eigenvalue", "--summary_file", write_summary(tmp_path, 2))
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    said = re.escape("analyze.py: standard output") + ".*: no space left on the disk; free some .*"
    # On a busy machine lines of progress come before.
    assert re.fullmatch(said, done.stderr.splitlines()[-1]), done.stderr
    assert done.returncode == 2


def test_a_broken_pipe_elsewhere_gets_its_line(capsys):
    def lose_a_worker():
        raise BrokenPipeError(errno.EPIPE, "worker gone")

    assert run_script("train_multiple.py", lose_a_worker) == 2
    assert "worker gone" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_that_a_library_turns_into_an_error_is_one_all_the_same(number, code, capsys):
    def interrupted(error):
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            raise error from None

    for error in (SystemError("returned a result with an exception set"), UserError("no such file")):
        assert run_script("emt", lambda error=error: interrupted(error)) == code
        assert capsys.readouterr().err == "emt: interrupted; rerun the same command to resume\n"
