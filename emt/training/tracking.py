"""Send finished members to Weights & Biases: a run each, with its options, its curve and how it ended."""

import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emt import files, runs
from emt.config import RunConfig
from emt.errors import UserError, install_hint
from emt.schema import Schema, read
from emt.training.population import done_markers

PROJECT = "emt"
"""Project of the runs, unless ``$WANDB_PROJECT`` names another."""


class Sent(Schema):
    """Content of a member's tracked.json: what was sent of it."""

    name: str
    weights_sha256: str


def require(parameter: str = "loggers") -> None:
    """Refuse to begin where Weights & Biases is not installed.

    Raises
    ------
    UserError
        Saying how it is installed.
    """
    if importlib.util.find_spec("wandb") is None:
        text = f"expected the package wandb; it is not installed: {install_hint('track')}"
        raise UserError(text, parameter=parameter)


def send(
    config: RunConfig,
    experiment: Path,
    *,
    figures: Mapping[int, Mapping[str, Any]] | None = None,
    log_freq: int | None = None,
    notes: str = "",
    group: str | None = None,
    tags: Sequence[str] = (),
) -> int:
    """Send each member that is done as a run of its own; one that was sent before is not sent again.

    Parameters
    ----------
    config, experiment
        The run and its folder.
    figures
        Further figures of members, by model number.
    log_freq
        Steps between points of the curve; None for all.
    notes, group, tags
        What the service keeps with the runs; the group is by default the folder's name.

    Returns
    -------
    int
        How many were sent.

    Raises
    ------
    UserError
        If the service refuses.
    """
    count, about = 0, {"group": group or experiment.name, "notes": notes}
    for number, marker in done_markers(config, experiment).items():
        folder = runs.model_folder(experiment, number)
        sent = folder / "tracked.json"
        if sent.exists() and read(sent, Sent).weights_sha256 == marker["sha256"]:
            continue
        name = f"{experiment.name}-model-{number}"
        curve = [
            point
            for point in files.read_curve(folder / "training_curve.csv")
            if log_freq is None or point.step % log_freq == 0
        ]
        norms = files.read_norms(folder / "norms.csv")
        summary = {**marker, **(figures or {}).get(number, {})}
        try:
            _send_one(
                name, experiment, config, curve, norms, summary, {**about, "tags": [*tags, marker["status"]]}
            )
        except Exception as error:
            # The service raises errors of its own, of the network and of the standard library.
            why = f"Weights & Biases: {type(error).__name__}: {error}"
            raise UserError(
                f"{why}; the models are trained: rerun the same command to send them, with WANDB_MODE=offline to "
                f"keep them in {experiment}",
                parameter="loggers",
            ) from None
        files.write_json(sent, {"name": name, "weights_sha256": marker["sha256"]})
        count += 1
    return count


def _send_one(
    name: str,
    experiment: Path,
    config: RunConfig,
    curve: Sequence[files.CurvePoint],
    norms: Mapping[int, Mapping[str, float]],
    summary: Mapping[str, Any],
    about: Mapping[str, Any],
) -> None:
    from pytorch_lightning.loggers import WandbLogger

    project = os.environ.get("WANDB_PROJECT", PROJECT)
    logger = WandbLogger(name=name, project=project, save_dir=experiment, **about)
    logger.log_hyperparams(config.model_dump())
    for point in curve:
        values = {k: v for k, v in point._asdict().items() if k != "step" and v == v}
        if point.is_training:
            values |= norms.get(point.step, {})
        logger.log_metrics(values, step=point.step)
    logger.experiment.summary.update({k: v for k, v in summary.items() if v is not None})
    # One run at a time: a second one of this process would become a part of the first.
    logger.experiment.finish()
