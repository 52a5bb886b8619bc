"""Send finished members to Weights & Biases: a run each, with its curve and its test figures."""

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emt import files, runs
from emt.config import RunConfig
from emt.errors import UserError, install_hint
from experiments.ethereal.results import curve_of

PROJECT = "emt-ethereal"


def require() -> None:
    """Refuse to go on where Weights & Biases is not installed.

    Raises
    ------
    UserError
        Saying how it is installed.
    """
    if importlib.util.find_spec("wandb") is None:
        raise UserError(f"--track: expected the package wandb; it is not installed: {install_hint('track')}")


def send(
    config: RunConfig,
    folder: Path,
    results: Mapping[int, Mapping[str, Any]],
    *,
    log_freq: int | None,
    notes: str,
    group: str | None,
    tags: Sequence[str],
) -> None:
    """Send each member as a run of its own; one that was sent before is not sent again.

    Parameters
    ----------
    config, folder, results
        The run and what `results.write_results` gives for it.
    log_freq
        Steps between points of the curve; None for all.
    notes, group, tags
        What the service keeps with the runs; the group is by default the folder's name.
    """
    wandb = importlib.import_module("wandb")
    for number, result in results.items():
        sent = runs.model_folder(folder, number) / "tracked.json"
        if sent.exists() and files.read_json(sent)["weights_sha256"] == result["weights_sha256"]:
            continue
        name = f"{folder.name}-model-{number}"
        run = wandb.init(
            project=PROJECT,
            name=name,
            group=group or folder.name,
            notes=notes,
            tags=[*tags, str(result["status"])],
            config=config.model_dump(),
        )
        for point in curve_of(folder, number):
            if log_freq is None or point.step % log_freq == 0:
                run.log({k: v for k, v in point._asdict().items() if k != "step" and v == v}, step=point.step)
        run.summary.update({k: v for k, v in result.items() if v is not None})
        run.finish()
        files.write_json(sent, {"name": name, "weights_sha256": result["weights_sha256"]})
