"""Binary kinds of file: recorded runs, dynamics, effects, weights, resume states, data sets, caches."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.cache import all_pairs, cached_in, each_item
from emt import dynamics_file, effects, files, record, runs, trace
from emt.config import RunConfig, TrainingConfig
from emt.models import MODELS
from emt.options import load
from emt.streams import stream
from emt.tasks import retrieval_data
from emt.training import chunk
from emt.training.journal import Journal
from emt.training.population import Chunk
from emt.training.resume import resume_state
from experiments.stress.kind import Kind

CONFIG = RunConfig(
    task={"name": "variable_binding", "seq_length": 3, "input_dim": 4},
    model={"type": "rnn", "hidden_dim": 5},
    training=TrainingConfig(num_models=2, epochs=1, epoch_batches=4, batch_size=2, curriculum_horizons=(4,)),
)

STEP = 2
"""Training steps after which weights are kept."""

LENGTHS = {"member": 3, "batch": 4, "time": 7, "channel": 8, "target": 9, "output": 9, "unit": 6, "key": 5}
LENGTHS |= {"value": 2, "read": 1, "visit": 11, "state": 4, "from_state": 4, "point": 5, "drive": 2}
LENGTHS |= {"sequence": 3, "rank": 4, "condition": 2, "query": 10, "variable": 6, "trial": 9}
"""Of each axis."""


def _random(*shape: int, kind: str = "") -> NDArray[np.float32]:
    return stream(f"stress.{kind}", 0, "test", 0).standard_normal(shape).astype(np.float32)


def _arrays(schema: Any) -> dict[str, tuple[tuple[str, ...], NDArray[np.float32]]]:
    return {name: (dims, _random(*(LENGTHS[d] for d in dims), kind=name)) for name, dims in schema.items()}


def make_trace(folder: Path) -> Path:
    """Write a recorded run of three members with an associative memory."""
    about = {"model": {"type": "fw"}, "seeds": [0, 1000, 2000], "length": 3}
    root, fast = _arrays(trace.REQUIRED | trace.RECORDED), _arrays(trace.MEMORY)
    made = trace.make(root, [1, 2, 3], {**about, "memories": {"fast": {"reads": "after"}}}, {"fast": fast})
    trace.save(made, folder / "seq3.nc")
    return folder / "seq3.nc"


def make_older_trace(folder: Path) -> Path:
    """Write a recorded run as versions without checksums did."""
    path = make_trace(folder)
    path.write_bytes(bytes(trace.load(path).to_netcdf(engine="h5netcdf")))
    return path


def read_trace(path: Path) -> dict[str, Any]:
    """Return all of a recorded run."""
    return {node.path: _contents(node.dataset) for node in trace.load(path).subtree}


OF_THREE = {"model": {"type": "rnn"}, "seeds": [0, 1000, 2000], "length": 3, "fingerprint": "x"}
"""What files of three members say of themselves."""


def make_dynamics(folder: Path) -> Path:
    """Write fixed points of three members."""
    arrays = {name: values for name, (_, values) in _arrays(dynamics_file.VARIABLES).items()}
    arrays["owner"] = np.array([1, 1, 2, 3, 3])
    about = {**OF_THREE, "searches": 9, "fixed_speed": 1e-14, "merge_distance": 1e-2}
    dynamics_file.save(dynamics_file.make(arrays, [1, 2, 3], about), folder / "seq3.nc")
    return folder / "seq3.nc"


def make_effects(folder: Path) -> Path:
    """Write effects of two conditions on three members, whose variables were exchanged."""
    schema = effects.VARIABLES | effects.OF_VARIABLES | effects.OF_MEMBERS
    arrays = {name: values for name, (_, values) in _arrays(schema).items()} | {"position": np.arange(6)}
    about = {
        **OF_THREE,
        "trials": 9,
        "accuracy": "sign",
        "chance": 0.5,
        "width": 2,
        "conditions": [{"name": name, "kind": "states", "edit": "shuffle"} for name in ("one", "other")],
    }
    effects.save(effects.make(arrays, [1, 2, 3], about), folder / "seq3.nc")
    return folder / "seq3.nc"


def _contents(data: Any) -> dict[str, Any]:
    variables = {str(n): (v.dims, str(v.dtype), v.to_numpy()) for n, v in data.variables.items()}
    return variables | {f"about {n}": str(v) for n, v in data.attrs.items()}


def make_run(folder: Path) -> Path:
    """Write a finished run of two members, with weights that were kept on the way; return the folder of the first."""
    files.write_json(folder / "config.json", CONFIG.model_dump())
    model = load(MODELS, CONFIG.model_type, "model_type")(CONFIG.training.seeds(), 4, 4, hidden_dim=5)
    for position in range(CONFIG.training.num_models):
        member, weights = runs.model_folder(folder, position + 1), model.export(position)
        runs.write_checkpoint(member, STEP, weights)
        runs.write_state(member, {"hidden": _random(5)})
        runs.write_weights(member, weights, {"status": "finished", "step": 4})
    return runs.model_folder(folder, 1)


def make_weights(folder: Path) -> Path:
    """Write a run; return a member's last weights."""
    return make_run(folder) / "checkpoint" / "weights.safetensors"


def make_checkpoint(folder: Path) -> Path:
    """Write a run; return a member's weights after some steps."""
    return runs.checkpoint_path(make_run(folder), STEP)


def make_state(folder: Path) -> Path:
    """Write a run; return what a member carries after its last step."""
    return make_run(folder) / "checkpoint" / "state.safetensors"


def read_members(path: Path, step: int | None = None) -> dict[str, Any]:
    """Return the weights of a run's members as an evaluation loads them."""
    loaded = record.load_members(path.parents[2], CONFIG, [1, 2], step=step)
    return {f"{n} {name}": w for n in range(2) for name, w in loaded.model.export(n).items()}


def _chunk(folder: Path) -> Chunk:
    return Chunk(folder, CONFIG, (1, 2))


def make_resume_state(folder: Path) -> Path:
    """Train two members for some steps; return their resume state."""
    work = _chunk(folder)
    stack, journal = chunk.build(CONFIG, work.numbers), Journal(work)
    for _ in range(STEP):
        report = stack.gradients()
        stack.optimizer.step()
        stack.advance(report)
        journal.record(stack, report)
    journal.save(stack)
    return work.state_path


def read_resume_state(path: Path) -> dict[str, Any]:
    """Return where training resumes."""
    work = _chunk(path.parents[1])
    stack, journal = chunk.build(CONFIG, work.numbers), Journal(work)
    assert journal.resume(stack)
    tensors, about = resume_state(stack)
    return {name: t.numpy().copy() for name, t in tensors.items()} | about | {"curves": journal.curves}


def make_data_set(folder: Path) -> Path:
    """Write a small data set of associative retrieval."""
    rows = {
        split: retrieval_data.reference_rows(3, 40, seed)
        for split, (_, seed) in retrieval_data.SPLITS.items()
    }
    files.write_bytes(folder / "data.npz", retrieval_data.to_npz(retrieval_data.DataSet(3, rows)))
    return folder / "data.npz"


def read_data_set(path: Path) -> dict[str, Any]:
    """Return the rows of a data set."""
    data = retrieval_data.read_npz(path)
    return {"pairs": data.pairs, "rows": data.rows}


ITEMS = tuple("abcde")


def _measure_items(places: Any) -> NDArray[np.float64]:
    return _random(5, 3).astype(float)[places]


def _measure_pairs(pairs: Any) -> NDArray[np.float64]:
    return np.abs(np.subtract(*pairs) / 7.0)[None]


def read_item_cache(path: Path) -> Any:
    """Return measures of items, from the cache where it holds them."""
    with cached_in(path.parents[1]):
        return each_item("items", ITEMS, lambda places: iter(_measure_items(places)))


def read_pair_cache(path: Path) -> Any:
    """Return distances of pairs, from the cache where it holds them."""
    with cached_in(path.parents[1]):
        return all_pairs("pairs", ITEMS, _measure_pairs)


def _make_cache(name: str, folder: Path) -> Path:
    path = folder / "cache" / f"{name}.npz"
    {"items": read_item_cache, "pairs": read_pair_cache}[name](path)
    return path


KINDS: tuple[Kind, ...] = (
    Kind("recorded run", make_trace, read_trace),
    # Without a checksum other numbers are no fault; a crash or no end is.
    Kind("older recorded run", make_older_trace, read_trace, vouched=False),
    Kind("dynamics", make_dynamics, lambda path: _contents(dynamics_file.load(path))),
    Kind("effects", make_effects, lambda path: _contents(effects.load(path))),
    Kind("weights", make_weights, read_members),
    Kind("weights after a step", make_checkpoint, partial(read_members, step=STEP)),
    Kind("carried state", make_state, lambda path: runs.read_state(path.parents[1])),
    Kind("resume state", make_resume_state, read_resume_state),
    Kind("data set", make_data_set, read_data_set),
    Kind("cache of items", partial(_make_cache, "items"), read_item_cache),
    Kind("cache of pairs", partial(_make_cache, "pairs"), read_pair_cache),
)
