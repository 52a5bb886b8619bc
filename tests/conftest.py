"""Planted populations that the tests of analyses share."""

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from analysis.population import Population, from_summary
from analysis.spectra.values import eigenvalue_histograms, spectral_error
from emt import dynamics_file as portrait
from emt import trace
from emt.tasks.variable_binding import VariableBinding


def _roots_of_unity(length: int, dimension: int) -> np.ndarray:
    return np.repeat(np.exp(2j * np.pi * np.arange(length) / length), dimension)


def _noisy_spectrum(length: int, dimension: int, noise: float, seed: int) -> np.ndarray:
    """Spectrum of a cyclic shift by one slot plus a random matrix: real, so conjugate pairs stay pairs."""
    size = length * dimension
    shift = np.kron(np.roll(np.eye(length), 1, axis=0), np.eye(dimension))
    random = np.random.default_rng(seed).normal(size=(size, size)) / np.sqrt(size)
    values = np.linalg.eigvals(shift + noise * random)
    return values[np.argsort(-np.abs(values))]


def _pairs(values: np.ndarray) -> list[list[float]]:
    return [[float(v.real), float(v.imag)] for v in values]


def _length_keys(length: int, dimension: int, noise: float, seed: int) -> dict[str, Any]:
    values, theory = _noisy_spectrum(length, dimension, noise, seed), _roots_of_unity(length, dimension)
    error = spectral_error(values, theory)
    angle_counts, magnitude_counts, _ = eigenvalue_histograms(values)
    keys = {
        "eigenvalues_rnn": _pairs(values),
        "eigenvalues_theory": _pairs(theory),
        "spectral_error_deg": error.angle_deg,
        "spectral_relative_error": error.relative,
        "missing_modes": error.missing,
        "angle_histogram_rnn": angle_counts.tolist(),
        "magnitude_histogram_rnn": magnitude_counts.tolist(),
        "variance_ratio": 0.9,
        "frob_error": 4.0 + noise * (seed % 7),
        "frob_relative": 1.0,
    }
    return {f"{name}_seq{length}": value for name, value in keys.items()}


@pytest.fixture
def make_summary() -> Callable[..., dict[str, Any]]:
    """Return a function that makes the contents of an evaluation_summary.json with planted spectra.

    ``missing`` are numbers of models without a spectrum at the first length, ``nan_accuracy`` numbers of models whose
    accuracy is null. Models stand in the order of text (1, 10, 2), as a careless writer would leave them.
    """

    def make(
        n_models: int = 6,
        *,
        lengths: Iterable[int] = (5,),
        dimension: int = 3,
        noise: float = 0.1,
        missing: Iterable[int] = (),
        nan_accuracy: Iterable[int] = (),
        seed: int = 0,
    ) -> dict[str, Any]:
        lengths, missing, nan_accuracy = list(lengths), set(missing), set(nan_accuracy)
        metrics = []
        for number in sorted(range(1, n_models + 1), key=str):
            entry = {
                "model_name": f"model-{number}",
                "model_path": f"experiment/model-{number}",
                "output_dir": f"experiment/model-{number}/results",
                "accuracy": None if number in nan_accuracy else 1.0 - 0.01 * number,
                "seq_lengths": lengths,
                "hidden_dim": 17,
                "input_dim": dimension,
                "batch_size": 64,
            }
            held = lengths[1:] if number in missing else lengths
            for length in held:
                entry |= _length_keys(length, dimension, noise, seed=1000 * seed + number)
            metrics.append(entry)
        return {"timestamp": "2025-01-01T00:00:00", "n_models": n_models, "evaluation_config": {}, "metrics": metrics}

    return make


@pytest.fixture
def make_population(make_summary: Callable[..., dict[str, Any]]) -> Callable[..., Population]:
    """Return a function that makes a population; it takes what `make_summary` takes and a ``label``."""

    def make(n_models: int = 6, *, label: str = "population", **options: Any) -> Population:
        summary = make_summary(n_models, **options)
        summary["metrics"].sort(key=lambda entry: int(entry["model_name"].removeprefix("model-")))
        return from_summary(summary, label=label)

    return make


@pytest.fixture
def write_summary(make_summary: Callable[..., dict[str, Any]]) -> Callable[..., Path]:
    """Return a function that writes ``<folder>/evaluation_summary.json``; it takes what `make_summary` takes."""

    def write(folder: Path, n_models: int = 6, **options: Any) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "evaluation_summary.json"
        path.write_text(json.dumps(make_summary(n_models, **options)), encoding="utf-8")
        return path

    return write


def recall_by_loop(
    keys: np.ndarray,
    values: np.ndarray,
    strength: np.ndarray,
    erase: np.ndarray,
    keep: np.ndarray,
    queries: np.ndarray,
    reads: str,
    gain_mask: np.ndarray | float = 1.0,
    keep_mask: np.ndarray | float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Run one linear memory of one trial, as its equation stands; NaN keys write nothing, NaN keeps forget nothing.

    Axes: keys (time, key), values (time, value), strengths (time,), queries (time, read, key). Returns contents after
    each step (time, value, key) and answers (time, read, value).
    """
    content = np.zeros((values.shape[-1], keys.shape[-1]))
    contents, answers = [], []
    for t in range(len(keys)):
        before = content
        if np.isfinite(keep[t]):
            content = keep[t] * keep_mask * content
        if np.isfinite(keys[t]).all():
            content = content @ (np.eye(keys.shape[-1]) - erase[t] * np.outer(keys[t], keys[t]))
            content = content + strength[t] * gain_mask * np.outer(values[t], keys[t])
        found = before if reads == "before" else content
        answers.append([found @ query for query in queries[t]])
        contents.append(content)
    return np.stack(contents), np.array(answers)


def _trace_of(memories: dict[str, dict[str, Any]], events: dict[str, np.ndarray], about: dict[str, Any]) -> Any:
    """Return a trace with these memories: name -> variables beside its ``rule``."""
    first = next(iter(memories.values()))
    members, batch, steps = first["write_keep"].shape
    rng = np.random.default_rng(1)
    root: dict[str, Any] = {
        "inputs": (("batch", "time", "channel"), rng.normal(size=(batch, steps, 2))),
        "targets": (("batch", "time", "target"), rng.normal(size=(batch, steps, 3))),
        "scored": (("batch", "time"), np.ones((batch, steps), np.int8)),
        "outputs": ((*trace.MEMBER_TIME, "output"), rng.normal(size=(members, batch, steps, 3))),
        "hidden": ((*trace.MEMBER_TIME, "unit"), rng.normal(size=(members, batch, steps, 4))),
    }
    root |= {name: (("batch", "time", "item")[: event.ndim], event) for name, event in events.items()}
    nodes = {}
    for name, content in memories.items():
        dims = dict(trace.MEMORY)
        if content["write_key"].ndim == 5:
            dims |= {n: (*dims[n][:-1], "factor", "key") for n in ("write_key", "read_query")}
        dims |= trace.ENTRIES
        nodes[name] = {n: (dims[n], value) for n, value in content.items() if n != "rule"}
    rules = {name: content["rule"] for name, content in memories.items()}
    numbers = [2 * i + 1 for i in range(members)]
    return trace.make(root, numbers, {"model": {"type": "planted"}, "memories": rules, **about}, nodes)


@pytest.fixture
def trace_of() -> Callable[..., Any]:
    """Return `_trace_of`."""
    return _trace_of


@pytest.fixture
def recall() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Return `recall_by_loop`."""
    return recall_by_loop


@pytest.fixture
def make_recording() -> Callable[..., Any]:
    """Return a function that makes a trace of members that store pairs and are asked for one of them.

    A trial is c9k8…??k: letters and digits in turn, two question marks, the letter asked for. Each step writes under a
    key of its own, orthogonal to the others; reads at a letter's second coming use the key of its digit's step. With
    ``shuffled`` the written keys of each trial change places, with ``strength`` 0 nothing is stored.
    """

    def make(
        members: int = 3,
        trials: int = 20,
        pairs: int = 4,
        *,
        reads: int = 1,
        decay: float = 0.9,
        strength: float = 0.5,
        shuffled: bool = False,
        memories: Iterable[str] = ("fast",),
        asked: bool = True,
        tokens: bool = True,
        seed: int = 0,
    ) -> Any:
        rng = np.random.default_rng(seed)
        steps = 2 * pairs + 3
        letters = np.stack([rng.permutation(26)[:pairs] for _ in range(trials)])
        digits = rng.integers(26, 36, (trials, pairs))
        target = rng.integers(0, pairs, trials)
        token = np.full((trials, steps), 36)
        token[:, 0 : 2 * pairs : 2], token[:, 1 : 2 * pairs : 2] = letters, digits
        token[:, -1] = letters[np.arange(trials), target]
        events = {name: np.full((trials, steps), -1) for name in ("written", "asked")}
        events["written"][:, 1 : 2 * pairs : 2] = np.arange(pairs)
        events["asked"][:, -1] = target
        events |= {"token": token, "trial": np.zeros_like(token)}
        if not asked:
            del events["asked"]

        def memory() -> dict[str, Any]:
            size, shape = steps + 2, (members, trials, steps)
            frames = np.stack([np.linalg.qr(rng.normal(size=(size, size)))[0] for _ in range(members)])
            keys = np.broadcast_to(frames[:, None, :steps], (*shape, size)).copy()
            queries = rng.normal(size=(*shape, reads, size)) / size
            queries[:, np.arange(trials), -1, -1] += keys[:, np.arange(trials), 2 * target + 1]
            if shuffled:
                for place in np.ndindex(members, trials):
                    keys[place] = rng.permutation(keys[place])
            values = rng.normal(size=(*shape, 5))
            constants = [np.full(shape, x) for x in (strength, 0.0, decay)]
            answers = np.empty((*shape, reads, 5))
            for place in np.ndindex(members, trials):
                log = [x[place] for x in (keys, values, *constants, queries)]
                answers[place] = recall_by_loop(*log, "before")[1]
            names = ("write_key", "write_value", "write_strength", "write_erase", "write_keep", "read_query")
            arrays = dict(zip(names, (keys, values, *constants, queries), strict=True)) | {"read_value": answers}
            rule = {"kind": "linear", "reads": "before"}
            return {n: a.astype(np.float32) for n, a in arrays.items()} | {"rule": rule}

        names = [*"abcdefghijklmnopqrstuvwxyz0123456789?"]
        about = {"tokens": names} if tokens else {}
        return _trace_of({name: memory() for name in memories}, events, about)

    return make


def _places_story(draw: np.random.Generator) -> str:
    """Twice two people who move and a question about one of them: six lines, one of them supports each answer."""
    people, rooms = ("Ada", "Ben", "Cleo"), ("attic", "cellar", "yard", "hall")
    lines: list[str] = []
    for _ in range(2):
        who, where = draw.permutation(people)[:2], draw.permutation(rooms)[:2]
        lines += [f"{who[i]} walked to the {where[i]}." for i in range(2)]
        asked = int(draw.integers(2))
        lines.append(f"Where is {who[asked]}? \t{where[asked]}\t{len(lines) - 1 + asked}")
    return "".join(f"{i} {line}\n" for i, line in enumerate(lines, 1))


def _fears_story(draw: np.random.Generator) -> str:
    """Who fears whom, two lines for each answer: six lines, the supporting ones in the order of the reasoning."""
    kinds = draw.permutation(("rat", "fox", "owl"))
    return (
        f"1 Every {kinds[0]} fears the {kinds[1]}.\n2 Every {kinds[1]} fears the {kinds[2]}.\n3 Pip is a {kinds[0]}.\n"
        f"4 Tam is a {kinds[1]}.\n5 What does Pip fear?\t{kinds[1]}\t3 1\n6 What does Tam fear?\t{kinds[2]}\t4 2\n"
    )


def _paths_story(draw: np.random.Generator) -> str:
    """A way of two steps, the answer one word with a comma: three lines."""
    ways = {"n": "north", "s": "south", "w": "west", "e": "east"}
    first, second = draw.permutation(list(ways))[:2]
    return (
        f"1 The hall is {ways[first]} of the yard.\n2 The attic is {ways[second]} of the hall.\n"
        f"3 How do you get from the yard to the attic?\t{first},{second}\t1 2\n"
    )


MINI_BABI = {1: _places_story, 15: _fears_story, 19: _paths_story}
"""Stories of a small bAbI by task."""


@pytest.fixture(scope="session")
def mini_babi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a generated bAbI in the published layout: tasks 1, 15 and 19, in each 23, 5 and 7 stories."""
    folder = tmp_path_factory.mktemp("babi") / "tasks_1-20_v1-2" / "en-valid"
    folder.mkdir(parents=True)
    for number, (task, story) in enumerate(MINI_BABI.items()):
        for place, (split, count) in enumerate({"train": 23, "valid": 5, "test": 7}.items()):
            draw = np.random.default_rng((number, place))
            (folder / f"qa{task}_{split}.txt").write_text("".join(story(draw) for _ in range(count)))
    return folder.parents[1]


def plant_variables(
    task: VariableBinding,
    *,
    members: int = 2,
    trials: int = 17,
    horizon: int = 13,
    condition: float = 3.0,
    weight_noise: float = 0.0,
    circuit_noise: float = 0.0,
    rolled: bool = False,
    clock: float = 0.0,
    split: int = 0,
    units: int = 29,
) -> tuple[Any, np.ndarray, np.ndarray]:
    """Return a trace of linear networks that keep the task's variables in a random basis, the bases and the variables.

    The variables are the window's positions whose values last. The basis Q (unit, variable) has singular values from 1
    down to 1 / ``condition``; W = Q Φ Q⁺ and C, the newest rows of Q⁺, get entries of relative size ``weight_noise``
    more, and so does Φ by ``circuit_noise``. States are those of the exact circuit, or with ``rolled`` those that W
    makes of the first complete window, noise and all. ``clock`` adds what all trials share at a step. With ``split``
    the state is in two tensors, the first of that many units.
    """
    length = task.lengths[0]
    batch = task.test_batch(0, length, horizon, trials)
    operator = task.operator(length)
    size, width = operator.shape
    companion = np.vstack([np.eye(size - width, size, k=width), operator.T])
    lasting = np.linalg.matrix_power(companion, size).any(axis=0)
    variables = _roll_out(batch, companion, width)[..., lasting]
    companion, size = companion[np.ix_(lasting, lasting)], int(lasting.sum())
    rng = np.random.default_rng(3)
    bases, states, matrices, readouts = [], [], [], []
    for _ in range(members):
        left, right = (np.linalg.qr(rng.normal(size=(n, n)))[0][:, :size] for n in (units, size))
        q = left * np.geomspace(1, 1 / condition, size) @ right.T
        dual = right * np.geomspace(1, condition, size) @ left.T
        circuit = _noisy(companion, circuit_noise, rng)
        noisy = [_noisy(a, weight_noise, rng) for a in (q @ circuit @ dual, dual[-width:])]
        shared = clock * rng.normal(size=(batch.steps, units))
        bases.append(q)
        states.append((_rolled(variables @ q.T, noisy[0]) if rolled else np.nan_to_num(variables) @ q.T) + shared)
        matrices.append(noisy[0])
        readouts.append(noisy[1][:, : split or units])
    hidden = np.stack(states).astype(np.float32)
    parts = {"hidden": hidden[..., : split or units]} | ({"cell": hidden[..., split:]} if split else {})
    axes = ("member", "batch", "time")
    arrays = {
        "inputs": (("batch", "time", "channel"), batch.padded_inputs(task.input_channels)[0]),
        "targets": (("batch", "time", "target"), batch.targets[0]),
        "scored": (("batch", "time"), batch.scored[0].astype(np.int8)),
        "outputs": ((*axes, "output"), np.broadcast_to(batch.targets[0], (members, *batch.targets[0].shape))),
        "operator": (("window", "target"), operator),
        "step_matrix": (("member", "state", "from_state"), np.stack(matrices)),
        "readout": (("member", "output", "unit"), np.stack(readouts)),
    }
    arrays |= {name: (("batch", "time"), event[0]) for name, event in batch.events.items()}
    arrays |= {name: ((*axes, "unit" if name == "hidden" else "cell_unit"), part) for name, part in parts.items()}
    about = {"model": {"type": "planted"}, "experiment": "planted", "states": list(parts), "accuracy": "sign"}
    recording = trace.make(arrays, [2 * k + 1 for k in range(members)], about)
    return recording, np.stack(bases), variables


def _noisy(exact: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    return exact + share * np.sqrt(np.mean(exact**2)) * rng.normal(size=exact.shape) if share else exact


def _rolled(states: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return states (trial, time, unit) that follow the first complete ones by a matrix; zeros before."""
    complete = np.isfinite(states).all(axis=(0, 2))
    rolled = np.nan_to_num(states)
    for step in np.flatnonzero(complete)[1:]:
        rolled[:, step] = rolled[:, step - 1] @ matrix.T
    return rolled


def _roll_out(batch: Any, companion: np.ndarray, width: int) -> np.ndarray:
    """Return the window at each step (trial, time, s·d): inputs first, then powers of Φ; NaN where it is incomplete."""
    inputs, events = batch.inputs[0], {name: event[0] for name, event in batch.events.items()}
    windows = np.full((len(inputs), batch.steps, len(companion)), np.nan)
    for row, number in np.ndindex(len(inputs), int(events["trial"].max()) + 1):
        steps = np.flatnonzero(events["trial"][row] == number)
        shown = steps[events["written"][row, steps] >= 0]
        window = inputs[row, shown, :width].ravel()
        for answer in steps[events["phase"][row, steps] == 1]:
            window = companion @ window
            windows[row, answer] = window
    return windows


@pytest.fixture
def make_circuits() -> Callable[..., Any]:
    """Return `plant_variables` for a task with the options given (default: repeat copy, s = 5, d = 3)."""

    def make(task: dict[str, Any] | None = None, **options: Any) -> tuple[Any, np.ndarray, np.ndarray]:
        return plant_variables(VariableBinding(**({"seq_length": 5, "input_dim": 3} | (task or {}))), **options)

    return make


@pytest.fixture
def make_portrait() -> Callable[..., Any]:
    """Return a function that makes a portrait of members whose point k has k unstable directions, the last being slow.

    Recorded states lie on a circle in the first two numbers of the state, points on a smaller one.
    """

    def make(members: int = 3, points: int = 4, *, size: int = 5, seed: int = 0) -> Any:
        rng = np.random.default_rng(seed)
        n = members * points
        angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        circle = np.zeros((members, 40, size))
        circle[..., 0], circle[..., 1] = np.cos(angle), np.sin(angle)
        place = np.tile(np.arange(points), members)
        frames = [rng.normal(size=(size, size)) for _ in range(n)]
        modes = [np.where(np.arange(size) < min(k, size), 1.2, 0.6 + 0.05 * np.arange(size)) for k in place]
        variables = {
            "found": np.full(members, points),
            "spread": np.ones(members),
            "visited": circle + 0.05 * rng.normal(size=circle.shape),
            "owner": np.repeat(2 * np.arange(members) + 1, points),
            "position": 0.5 * circle[0, place] + 0.01 * rng.normal(size=(n, size)),
            "speed": np.where(place == points - 1, 1e-6, 1e-20),
            "hits": 1 + place,
            "distance": np.full(n, 0.5),
            "jacobian": np.reshape(
                [f @ np.diag(m) @ np.linalg.inv(f) for f, m in zip(frames, modes, strict=True)], (n, size, size)
            ),
            "input_jacobian": rng.normal(size=(n, size, 2)),
            "exponent": -np.sort(rng.exponential(size=(members, 2, 4, size)), axis=-1),
        }
        about = {
            "experiment": "planted",
            "model": {"type": "lstm"},
            "states": {"hidden": 2, "cell": size - 2},
            "held": [],
            "searches": 50,
            "fixed_speed": 1e-14,
            "slow_speed": 1e-4,
            "merge_distance": 1e-2,
        }
        return portrait.make(variables, [2 * i + 1 for i in range(members)], about)

    return make


@pytest.fixture(scope="session")
def layout_faults() -> Callable[[Figure], list[str]]:
    """Return a function that names what a reader would trip over in a figure."""
    return _layout_faults


def _layout_faults(figure: Figure) -> list[str]:
    figure.draw_without_rendering()
    return [*_out_of_view(figure), *_crowded_ticks(figure), *_empty_axes(figure)]


def _out_of_view(figure: Figure) -> Iterator[str]:
    within = figure.bbox.padded(0.05 * figure.dpi)
    labels = [
        text
        for ax in figure.axes
        for text in (ax.title, ax._left_title, ax._right_title, ax.xaxis.label, ax.yaxis.label)
        if ax.get_visible()
    ]
    for text in [*figure.texts, *labels]:
        corners = text.get_window_extent().corners()
        if text.get_text() and not all(within.contains(x, y) for x, y in corners):
            yield f"beyond the figure: {text.get_text()}"


def _crowded_ticks(figure: Figure) -> Iterator[str]:
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis) if ax.axison):
        low, high = sorted(axis.get_view_interval())
        labels = [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
        boxes = [label.get_window_extent() for label in labels if label.get_visible() and label.get_text()]
        if any(first.overlaps(second) for first, second in pairwise(boxes)):
            yield f"labels overlap: {', '.join(label.get_text() for label in labels)}"


def _empty_axes(figure: Figure) -> Iterator[str]:
    return (f"empty axes: {ax.get_title()}" for ax in figure.axes if ax.axison and not ax.has_data())
