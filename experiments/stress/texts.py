"""Kinds of text file: JSON, tables, pictures that a page takes in, stories; and arrays of other shapes and types."""

import io
import json
import shutil
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from analysis.conditions.model_matrices import read_matrix
from analysis.population import Population, from_summary
from analysis.report.page import report_experiment
from analysis.report.sections import Experiment
from analysis.spectra.eigenvalue import summarise_eigenvalues
from analysis.tables import save_results, to_json
from emt import evaluation, files, runs
from emt.commands.known_systems.summaries import plant_summary
from emt.config import RunConfig, TrainingConfig
from emt.evaluation import Settings, Work
from emt.interventions.conditions_file import read_conditions_file
from emt.options import load
from emt.schema import read
from emt.tasks import TASKS, characters
from emt.tasks.babi_data import read_babi
from emt.tasks.word_files import read_texts
from emt.training import population
from emt.training.progress import standing
from emt.training.sweep import complete, read_run
from emt.training.tracking import Sent
from experiments.associative_retrieval.results import RetrievalTest
from experiments.catbabi.results import MemberTest, RunTest
from experiments.command_line import find_runs
from experiments.stress.binary import make_data_set, read_data_set
from experiments.stress.kind import Kind, damage
from experiments.stress.mutations import mutate_json, mutate_lines, mutate_table
from experiments.training import read_test

CONFIG = RunConfig(
    metadata={"experiment_name": "run"},
    task={"name": "variable_binding", "seq_length": 3, "input_dim": 4},
    model={"type": "rnn", "hidden_dim": 5},
    training=TrainingConfig(num_models=3),
)


def _write_summary(folder: Path) -> Path:
    path = folder / "evaluation_summary.json"
    path.write_text(json.dumps(plant_summary(4, lengths=[3, 5])), encoding="utf-8")
    return path


def _analyse_summary(path: Path) -> Any:
    found = from_summary(runs.read_summary(path, compact=True), label="a")
    return _arrays(found), summarise_eigenvalues(found).tables(), _page(path.parent)


def _arrays(found: Population) -> Any:
    return (
        found.names,
        found.eigenvalues,
        found.theory,
        found.scalars,
        found.skipped,
        asdict(found.conditions),
    )


def _page(folder: Path) -> Any:
    summary = runs.read_summary(folder / "evaluation_summary.json", compact=True)
    names = ("eigenvalue", "embedding", "persistence")
    words = dict.fromkeys(names, "what?")
    return report_experiment(Experiment(folder, "a", summary, None, words, words)).pages()


def _write_experiment(folder: Path) -> Path:
    """Write an experiment with results of three analyses and what training left of its members."""
    summary = runs.read_summary(_write_summary(folder))
    result = summarise_eigenvalues(from_summary(summary))
    results = folder / "eigenvalue_analysis"
    names = [path.name for path in save_results(result, results)]
    Image.new("RGB", (40, 30), (9, 9, 99)).save(results / "spectra.png", pnginfo=None)
    about = {"headline": "said", "command": "eigenvalue", "options": {"a": 1}, "seq_length": 5}
    (results / "about.json").write_bytes(to_json(about | {"files": [*names, "spectra.png"], "sha256": {}}))
    header, rows = "model_name,dimension,birth,death", ("model-1,0,0,0.5", "model-1,1,0.25,", "model-2,0,0,1")
    _write(folder / "persistence_analysis" / "persistence_diagrams.csv", header, *rows)
    rows = ("model-1,0.5,-1", "model-2,1,2", "model-3,0,")
    _write(folder / "embedding_analysis" / "mds_embedding.csv", "model_name,dimension_1,dimension_2", *rows)
    rows = ("0,2,0.1,0.99,64", "0,1,0.98,0.99,64", "1,1,,,0")
    _write(
        folder / "interventions_analysis" / "interventions_map.csv",
        "item,steps_before,accuracy,unchanged,queries",
        *rows,
    )
    points = [
        files.CurvePoint(50, 10, 0.5, 0.25, np.nan, np.nan),
        files.CurvePoint(75, 10, np.nan, np.nan, 1.5, 0.5),
    ]
    files.write_curve(folder / "model-1" / "training_curve.csv", points)
    _write_member(folder, 1)
    return folder


def _write_member(folder: Path, number: int) -> None:
    about = {
        "step": 75,
        "status": "finished",
        "seed": 3,
        "horizon": 10,
        "passed_step": None,
        "train_acc": 0.5,
    }
    runs.write_weights(runs.model_folder(folder, number), {"a": np.arange(3, dtype=np.float32)}, about)


def _write(path: Path, *lines: str) -> None:
    files.write_text(path, "\n".join(lines) + "\n")


def _in_experiment(name: str, place: str, mutate: Any) -> Kind:
    return Kind(
        name,
        make=lambda folder: _write_experiment(folder) / place,
        read=lambda path: _page(path.parents[len(Path(place).parts) - 1]),
        vouched=False,
        mutate=mutate,
    )


def _write_config(folder: Path) -> Path:
    files.write_json(folder / "config.json", complete(CONFIG).model_dump())
    return folder / "config.json"


def _write_yaml(folder: Path) -> Path:
    import yaml

    content = json.loads(files.to_json(complete(CONFIG).model_dump()))
    (folder / "config.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder / "config.yaml"


def _read_config(path: Path) -> Any:
    config = read_run(path)
    task = load(TASKS, config.task_name, "task")(**config.task_options())
    return config.model_dump(), task.lengths


def _write_chunks(folder: Path) -> Path:
    population.prepare(CONFIG, folder)
    return folder / "population" / "chunks.json"


def _write_status(folder: Path) -> Path:
    [chunk, *_] = population.prepare(CONFIG, folder)
    member = {"step": 5, "horizon": 10, "accuracy": 0.5, "frozen": False}
    content = {
        "step": 5,
        "total_steps": 20,
        "members": dict.fromkeys(map(str, chunk.numbers), member),
        "done": {},
        "model_steps_per_s": 3.0,
        "seconds_per_model_step": 0.5,
        "course": {"at": {str(n): [10, 2] for n in chunk.numbers}, "spent": {"10": [3]}},
        "stop_window": 100,
    }
    files.write_json(chunk.status_path, content, indent=None)
    return chunk.status_path


def _standing(path: Path) -> Any:
    stopping = CONFIG.model_copy(update={"training": TrainingConfig(num_models=3, stop_accuracy=0.9)})
    chunks = population.prepare(CONFIG, path.parents[1])
    early = [replace(chunk, config=stopping) for chunk in chunks]
    return [asdict(standing(each)) for each in (chunks, early)]


def _write_marker(folder: Path) -> Path:
    for number in (1, 2, 3):
        _write_member(folder, number)
    return runs.marker_path(runs.model_folder(folder, 2))


def _write_sent(folder: Path) -> Path:
    files.write_json(folder / "tracked.json", {"name": "run-model-1", "weights_sha256": "0" * 64})
    return folder / "tracked.json"


def _read_sent(path: Path) -> Any:
    return read(path, Sent)


def _work(folder: Path) -> Work:
    return Work(folder, CONFIG, Settings((3,), 9, "cpu", False), (1,))


def _write_entry(folder: Path) -> Path:
    runs.write_weights(runs.model_folder(folder, 1), {"a": np.arange(3, dtype=np.float32)}, {})
    work = _work(folder)
    evaluation.write_entry(work, 1, plant_summary(1)["metrics"][0])
    path = evaluation.entry_path(work, 1)
    shutil.copy(path, path.with_name("again.json"))
    return path


def _entry(path: Path) -> Any:
    """Return the entry that stands for a member: what is not current is computed again."""
    current = evaluation.is_current(_work(path.parents[2]), 1)
    return files.read_json(path if current else path.with_name("again.json"))["entry"]


def _write_sweep(folder: Path) -> Path:
    _write_config(folder / "b")
    _write_config(folder / "a")
    files.write_json(folder / "sweep.json", {"format_version": 1, "question": "q", "experiments": ["b", "a"]})
    return folder / "sweep.json"


def _tests(name: str, schema: Any, content: dict[str, Any]) -> Kind:
    def make(folder: Path) -> Path:
        files.write_json(folder / "test.json", content)
        return folder / "test.json"

    return Kind(name, make, lambda path: read_test(path.parent, schema), vouched=False, mutate=mutate_json)


_FIGURES = {"accuracy": 0.5, "accuracy_whole": None, "accuracy_mean": 0.5, "loss": 1.5, "perplexity": 4.5}
_START = _FIGURES | {
    "questions": 9,
    "words": 30,
    "by_task": {"1": {"accuracy": 0.5}, "15": {"accuracy": 1.0}},
}
_MEMBER = {
    "weights_sha256": "a",
    "seed": 3,
    "rows": 1,
    "validation": {"accuracy": 0.5},
    "starts": {"zero": _START},
}
_RETRIEVAL = {
    "weights_sha256": "a",
    "test_loss": 0.5,
    "test_acc": 0.5,
    "test_rows": 9,
    "test_rows_in_train": 2,
    "seed": 3,
}
_SPREAD = {"n": 3, "mean": 0.5, "sd": 0.25, "low": None, "high": None}


def _write_stories(folder: Path) -> Path:
    lines = ("1 Ada walked to the hall.", "2 Ben went to the yard.", "3 Where is Ada?\thall\t1")
    variant = folder / "tasks_1-20_v1-2" / "en-valid"
    for split in ("train", "valid", "test"):
        _write(variant / f"qa1_{split}.txt", *lines * 5)
    return variant / "qa1_train.txt"


def _stories(path: Path) -> Any:
    # Not from its cache.
    found = read_babi.__wrapped__(path.parents[2], "en-valid", (1,))
    return " ".join(found.vocabulary), [asdict(stories) for stories in found.splits.values()]


def _write_articles(folder: Path) -> Path:
    for split in ("train", "valid", "test"):
        _write(folder / f"wiki.{split}.tokens", "", " = Ada = ", "", *[" Ada likes <unk> . "] * 9)
    return folder / "wiki.train.tokens"


def _articles(path: Path) -> Any:
    # Not from its cache.
    found = read_texts.__wrapped__(path.parent)
    return found.vocabulary, *(
        {k: v.tolist() for k, v in part.items()} for part in (found.splits, found.articles)
    )


def _write_text(folder: Path) -> Path:
    _write(folder / "text.txt", *["the quick brown fox jumps over it"] * 30)
    return folder / "text.txt"


def _mutate_arrays(content: bytes, random: np.random.Generator) -> bytes:
    """Return a data set with another array in the place of one."""
    arrays = dict(np.load(io.BytesIO(content)))
    name = list(arrays)[random.integers(len(arrays))]
    value = arrays[name]
    others = (
        *(value.astype(float), value.astype(bool), value.astype(str), value[..., None], value[None], -value),
        *(
            np.array([]),
            np.array(7),
            np.array("x"),
            np.full(value.shape, np.nan),
            value + 2**40,
            value.astype("M8[s]"),
        ),
    )
    arrays[name] = others[random.integers(len(others))]
    if random.random() < 0.1:
        del arrays[name]
    made = io.BytesIO()
    np.savez(made, **arrays)
    return made.getvalue()


def _read_chunks(path: Path) -> Any:
    return [chunk.numbers for chunk in population.prepare(CONFIG, path.parents[1])]


def _read_marker(path: Path) -> Any:
    return population.done_markers(CONFIG, path.parents[2])


def _read_sweep(path: Path) -> Any:
    return [run.name for run in find_runs(path.parent, "variable_binding")]


def _write_conditions(folder: Path) -> Path:
    given = [
        {"name": "half", "edit": "scale", "target": "queried", "amount": 0.5, "draws": 2},
        {"name": "missed", "edit": "scale", "target": "queried", "at": "query", "control": "half"},
        {"name": "exchanged", "edit": "shuffle", "part": "memory", "after": 3},
    ]
    files.write_json(folder / "conditions.json", given)
    return folder / "conditions.json"


def _read_conditions(path: Path) -> Any:
    return [condition.describe() for condition in read_conditions_file(path)]


def _write_norms(folder: Path) -> Path:
    files.write_norms(
        folder / "norms.csv", ("grad_norm", "weight_norm"), [(50, [0.5, 12.25]), (75, [1e-7, 12.5])]
    )
    return folder / "norms.csv"


def _write_matrix(folder: Path) -> Path:
    _write(folder / "model.csv", "condition,low,middle,high", "low,0,1,2", "middle,1,0,1.5", "high,2,1.5,0")
    return folder / "model.csv"


def _read_matrix(path: Path) -> Any:
    return read_matrix(path, ("low", "middle", "high")).tolist()


_json = partial(Kind, vouched=False, mutate=mutate_json)
_lines = partial(Kind, vouched=False, mutate=mutate_lines)

KINDS: tuple[Kind, ...] = (
    _json("summary", _write_summary, _analyse_summary),
    _in_experiment("about of an analysis", "eigenvalue_analysis/about.json", mutate_json),
    _in_experiment("table on the page", "eigenvalue_analysis/eigenvalue_statistics.csv", mutate_table),
    _in_experiment("table of diagrams", "persistence_analysis/persistence_diagrams.csv", mutate_table),
    _in_experiment("table of a map", "embedding_analysis/mds_embedding.csv", mutate_table),
    _in_experiment("table of removals", "interventions_analysis/interventions_map.csv", mutate_table),
    _in_experiment("learning curve", "model-1/training_curve.csv", mutate_table),
    _in_experiment("done marker on the page", "model-1/checkpoint/done.json", mutate_json),
    _in_experiment("picture", "eigenvalue_analysis/spectra.png", damage),
    _json("configuration", _write_config, _read_config),
    Kind("configuration in YAML", _write_yaml, _read_config, vouched=False, mutate=mutate_lines),
    _json("chunks", _write_chunks, _read_chunks),
    _json("status", _write_status, _standing),
    _json("done marker", _write_marker, _read_marker),
    Kind("entry of a member", _write_entry, _entry, mutate=mutate_json),
    _json("what was sent", _write_sent, _read_sent),
    _json("sweep", _write_sweep, _read_sweep),
    _json("conditions of interventions", _write_conditions, _read_conditions),
    Kind("norms", _write_norms, files.read_norms, vouched=False, mutate=mutate_table),
    Kind("matrix of a model", _write_matrix, _read_matrix, vouched=False, mutate=mutate_table),
    _tests("test of retrieval", RetrievalTest, _RETRIEVAL),
    _tests("test of a member", MemberTest, _MEMBER),
    _tests("test of a run", RunTest, {"starts": {"zero": dict.fromkeys(_FIGURES, _SPREAD)}}),
    _lines("stories", _write_stories, _stories),
    _lines("articles", _write_articles, _articles),
    _lines("text", _write_text, lambda path: characters._read(str(path), 7)),
    Kind("arrays of a data set", make_data_set, read_data_set, vouched=False, mutate=_mutate_arrays),
)
