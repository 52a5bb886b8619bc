"""Weight files of other programs: damaged ones, the pickle within a checkpoint, and hostile names in them."""

import argparse
import io
import re
import shutil
import zipfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from safetensors.torch import save

import emt
from emt import config as configuration
from emt import runs
from emt.commands import import_run
from emt.errors import UserError
from emt.files import write_bytes, write_json
from experiments.stress.kind import Kind, damage
from experiments.stress.mutations import mutate_json
from experiments.stress.outcome import Outcome


def _network() -> torch.nn.Module:
    network = torch.nn.ModuleDict({"rnn": torch.nn.GRU(3, 5, 2), "head": torch.nn.Linear(5, 2)})
    with torch.no_grad():
        for place, parameter in enumerate(network.parameters()):
            parameter.copy_(torch.arange(parameter.numel()).view(parameter.shape) / 7 + place)
    return network


def make_checkpoint(folder: Path) -> Path:
    """Write a checkpoint as Lightning does, with objects among what its user gave."""
    given = {"options": argparse.Namespace(rate=0.1, path=Path("x")), "class": torch.nn.GRU}
    content = io.BytesIO()
    torch.save({"hyper_parameters": given, "state_dict": _network().state_dict(), "epoch": 3}, content)
    write_bytes(folder / "model.ckpt", content.getvalue())
    return folder / "model.ckpt"


def make_safetensors(folder: Path) -> Path:
    """Write the weights as the library of that name does."""
    write_bytes(folder / "model.safetensors", save(dict(_network().state_dict())))
    return folder / "model.safetensors"


def read_weights(path: Path) -> dict[str, Any]:
    """Return all tensors, and what the network of them does."""
    weights = emt.load_weights(path)
    network = weights.network()
    with torch.no_grad():
        result = network(torch.ones(1, 4, 3))
    # Without a readout, whose name may be damaged, there is a layer alone.
    outputs = result if isinstance(result, torch.Tensor) else result[0]
    return {name: np.array(tensor.tolist()) for name, tensor in weights.items()} | {
        "outputs": np.array(outputs.tolist())
    }


def make_earlier_config(folder: Path) -> Path:
    """Write an experiment of the earlier code; return its configuration."""
    _earlier(folder / "old", seeds=(3, 1003))
    return folder / "old/config.json"


def read_earlier(path: Path) -> Any:
    """Return the run that the experiment becomes."""
    target = path.parents[1] / "new"
    shutil.rmtree(target, ignore_errors=True)
    with redirect_stdout(io.StringIO()):
        code = import_run.main([str(path.parent), "--output_dir", str(target), "--experiment_name", "run"])
    config = configuration.read(target / "run/config.json")
    return code, config.task, config.model, config.training.model_dump()


def _earlier(folder: Path, seeds: Sequence[int] = (0,)) -> None:
    layers = {"rnn": torch.nn.RNN(4, 5, bias=False), "readout": torch.nn.Linear(5, 4, bias=False)}
    content = io.BytesIO()
    torch.save({"state_dict": torch.nn.ModuleDict(layers).state_dict()}, content)
    for number in range(1, len(seeds) + 1):
        place = folder / f"model-{number}/lightning_logs/version_0/checkpoints/epoch=1-step=7.ckpt"
        write_bytes(place, content.getvalue())
    task = {"task_id": [15, 0, 0], "input_dim": 4, "seq_length": 3, "use_eos": False, "output_horizon": None}
    training = {"seed": seeds[0], "epochs": 4, "curriculum_horizons": [10, 20], "learning_rate": 0.001}
    config = {"task": task, "model": {"type": "rnn", "hidden_dim": 5, "bias": False}, "training": training}
    write_json(folder / "config.json", config)


def within_the_pickle(content: bytes, random: Generator) -> bytes:
    """Return a checkpoint whose pickle is damaged, with checksums of the archive that fit."""
    return _rewritten(content, lambda name, data: damage(data, random) if name.endswith("data.pkl") else data)


def _rewritten(content: bytes, change: Callable[[str, bytes], bytes]) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(written, "w") as new:
        for info in old.infolist():
            new.writestr(info.filename, change(info.filename, old.read(info)))
    return written.getvalue()


def in_a_weight_file(text: str, folder: Path) -> Outcome:
    """Give a tensor a name; it comes back as it is, and is shown as text."""
    if re.search("[\ud800-\udfff]", text):
        raise UserError("no file of this kind has half a character")
    write_bytes(folder / "a.safetensors", save({text: torch.ones(2)}))
    weights = emt.load_weights(folder / "a.safetensors")
    try:
        weights.network()
    except UserError as error:
        shown = error.in_flags()
    return Outcome.SAME if list(weights) == [text] and shown.isprintable() else Outcome.SILENT


def as_imported_experiment(text: str, folder: Path) -> Outcome:
    """Import a network under a name; the run has it, in its folder and its configuration."""
    _earlier(folder / "old")
    with redirect_stdout(io.StringIO()) as printed:
        import_run.main([str(folder / "old"), "--output_dir", str(folder), f"--experiment_name={text}"])
    name = configuration.read(folder / text / "config.json").metadata["experiment_name"]
    shown = all(line.isprintable() for line in printed.getvalue().splitlines())
    return Outcome.SAME if name == text and shown and runs.is_done(folder / text, 1) else Outcome.SILENT


KINDS: tuple[Kind, ...] = (
    Kind("torch checkpoint", make_checkpoint, read_weights),
    # Neither has a checksum; other numbers, or other names, are no fault. A crash, a call and no end are.
    Kind("pickle of a checkpoint", make_checkpoint, read_weights, vouched=False, mutate=within_the_pickle),
    Kind("safetensors of others", make_safetensors, read_weights, vouched=False),
    Kind("earlier config.json", make_earlier_config, read_earlier, vouched=False, mutate=mutate_json),
)
