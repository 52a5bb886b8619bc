"""The run directory: what is in it, who writes it, how it is read back. This docstring is the specification.

::

    <experiment>/
      config.json                        the whole configuration (`emt.config.RunConfig`)              train
      population/                        resume state of unfinished members, one file a chunk; lock    train
      model-k/checkpoint/                weights.safetensors, done.json; step-N.safetensors, the       train
                                         weights after N steps, with --keep_checkpoints;
                                         state.safetensors, what a member carries after its last step
      model-k/training.log               what happened to this member, in words                        train
      model-k/training_curve.csv         step, horizon, loss and accuracy, training and validation     train
      model-k/norms.csv                  step, norms of gradients (before clipping) and weights        train
      model-k/lightning_logs/            TensorBoard events of this member                             train
      eval_config.json                   what was evaluated and how                                    evaluate
      evaluation_summary.json            numbers of all members (below)                                evaluate
      model-k/results/                   figures of one member                                         evaluate
      traces/                            recorded runs (`emt.trace`)                                   evaluate
      outside/                           outputs on other trials than in training; with --outside      evaluate
      dynamics/                          fixed points, exponents (`emt.dynamics_file`); with --dynamics     evaluate
      global_analysis/                   figures across members                                        evaluate
      checkpoints/step-N/                all of the above that evaluate writes, after N steps: --step  evaluate
      <kind>_analysis/                   tables and figures of one analysis                            analyze

Members are numbered from 1 and sorted by number. Each file has one writer and appears under its final name
only when it is whole. ``done.json`` holds ``sha256``, ``step``, ``status`` ("finished", "stopped early" or
"diverged"), ``seed``, ``learning_rate``, ``horizon``, ``train_acc`` of the last batch and ``passed_step``,
the first step whose batch accuracy at the last horizon was above ``curriculum_threshold``. A weight file that
does not match its hash is refused; so is any file of tensors that does not match the checksum among its
metadata (`emt.tensor_file`).

``weights.safetensors`` holds one member's parameters under the names of torch's modules
(``rnn.weight_ih_l0``, ``rnn.weight_hh_l0``, ``readout.weight``, …), in torch's orientation (out, in).

``evaluation_summary.json`` is an object with ``timestamp``, ``n_models``, ``evaluation_config``, ``failed``
(a list of ``{"model_name", "error"}``) and ``metrics``, a list with one object for each evaluated member:

=====================================  ===============================================================================
``model_name model_path output_dir``   "model-3", its folder, the folder of its figures
``accuracy``                           share of right outputs on held-out sequences (output bits of the right sign, or
                                       largest outputs in the right place: the trace's ``accuracy``), or null
``accuracy_interval``                  95 % interval of the accuracy over sequences
``mean_return``                        mean over sequences of the sum of rewards, of members that act
``mean_return_interval``               95 % interval of it over sequences
``accuracy_rule``                      when an output is right: "sign" or "argmax"
``seq_lengths hidden_dim input_dim``   the lengths L analysed, units, input channels
``batch_size``                         sequences in the accuracy sample
``histogram_bins``                     ``{"angle": 37 edges on [0, π], "magnitude": 21 edges on [0, 2]}``
=====================================  ===============================================================================

and for each length L (keys that end in ``_seqL``; [re, im] pairs for complex numbers):

====================================  ================================================================================
``eigenvalues_rnn``                   spectrum of the leading invariant subspace, L·d values by descending modulus
``eigenvalues_theory``                spectrum of the task's companion matrix Φ
``spectral_error_deg``                mean angle between matched modes, a missing mode counting 180 degrees
``spectral_relative_error``           sqrt(Σ|λ−μ|²/Σ|μ|²) after optimal assignment
``missing_modes``                     modes of Φ that no eigenvalue answers
``angle_histogram_rnn``               counts of |angle|, 36 bins on [0, π]
``magnitude_histogram_rnn``           counts of modulus, 20 bins on [0, 2], larger values in the last bin
``variance_ratio frob_error``         the reference implementation's values: leading left singular subspace of W_hh
``frob_relative``                     (Elman networks only)
``eigenvalues_rnn_reference``         the reference implementation's spectrum (Elman networks only)
``spectral_error_deg_reference``      its spectral error; absent where that is undefined
====================================  ================================================================================

Theory keys are absent where a task has no linear operator. Integers above 2^53 are written as text and read
either way; numbers that are not finite are written as null.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from emt import tensor_file
from emt.errors import UserError, repeated
from emt.files import read_json, read_long_list, sha256, write_bytes, write_json
from emt.schema import Count, Schema, Share, checked

FORMAT_VERSION = 1


class DoneMarker(Schema):
    """Content of a ``done.json``; what training writes has all of it."""

    sha256: str
    step: Count | None = None
    status: Literal["finished", "stopped early", "diverged"] | None = None
    seed: Count | None = None
    horizon: Count | None = None
    train_acc: Share | None = None
    passed_step: Count | None = None
    best_step: Count | None = None
    val_acc: Share | None = None


class TrainedMarker(DoneMarker):
    """Content of the ``done.json`` of a member whose training has ended."""

    step: Count
    status: Literal["finished", "stopped early", "diverged"]
    seed: Count


def default_folder() -> Path:
    """``$EXPERIMENT_OUTPUT_DIR``, else the working directory: where relative experiment paths are looked up."""
    return Path(os.environ.get("EXPERIMENT_OUTPUT_DIR") or ".")


def find(path: str | Path, flag: str) -> Path:
    """Return an existing path, looked up as given and below ``$EXPERIMENT_OUTPUT_DIR``.

    Raises
    ------
    UserError
        If neither exists.
    """
    given = Path(path)
    candidates = [given] if given.is_absolute() else list(dict.fromkeys([given, default_folder() / given]))
    for candidate in candidates:
        if candidate.exists():
            return candidate
    tried = f" (also tried {candidates[1]})" if len(candidates) > 1 else ""
    raise UserError(f"no such file: {candidates[0]}{tried}", parameter=flag)


def read_summary(path: str | Path, *, compact: bool = False) -> dict[str, Any]:
    """Read an ``evaluation_summary.json``, ours or the reference implementation's, members sorted by number.

    Parameters
    ----------
    path
        The file, or the folder that holds it.
    compact
        Spectra as arrays (mode, 2) of real and imaginary part, a twentieth of the memory of lists.

    Raises
    ------
    UserError
        If the file is missing, broken, of another format, holds no members, or one of them twice, or something
        else than `emt.summary` expects; the message names the place.
    """
    from emt.summary import check_entry, check_summary

    path = Path(path)
    path = path / "evaluation_summary.json" if path.is_dir() else path
    summary = read_long_list(path, "metrics", compact_entry) if compact else read_json(path)
    metrics = summary.get("metrics") if isinstance(summary, dict) else None
    if not isinstance(metrics, list):
        raise UserError(f"{path}: expected an evaluation summary with a list 'metrics'; found none")
    if not metrics:
        raise UserError(f"{path}: expected at least one evaluated model; the population is empty")
    check_summary(summary, path)
    for position, entry in enumerate(metrics):
        if not isinstance(entry, dict) or not isinstance(entry.get("model_name"), str):
            raise UserError(f"{path}: expected a 'model_name' in metrics[{position}]; found none")
        metrics[position] = check_entry(entry, path, position)
    if several := repeated(entry["model_name"] for entry in metrics):
        raise UserError(
            f"{path}: expected each model once; got {several} (summaries of several experiments cannot be merged)"
        )
    summary["metrics"] = sorted(metrics, key=lambda entry: sort_key(entry["model_name"]))
    return summary


def compact_entry(entry: Any) -> Any:
    """Return a member's entry with its spectra as arrays; what is no list of pairs of numbers stays as it is."""
    from emt.summary import pairs_of

    if not isinstance(entry, dict):
        return entry
    return {k: pairs_of(v) if k.startswith("eigenvalues_") else v for k, v in entry.items()}


def sort_key(name: str) -> tuple[Any, ...]:
    """Sort names by the numbers in them: model-2 before model-10."""
    return tuple(int(part) if i % 2 else part for i, part in enumerate(re.split(r"(\d+)", name)))


def model_folder(experiment: Path, number: int) -> Path:
    """Return the folder of member ``number`` (from 1)."""
    return experiment / f"model-{number}"


def model_folders(experiment: Path, pattern: str = "model-*") -> list[Path]:
    """Return the folders of members that match a glob pattern, sorted by number.

    Raises
    ------
    UserError
        If there are none.
    """
    if not pattern or "/" in pattern or ".." in pattern:
        raise UserError(
            f"must be a pattern for names inside {experiment}; got {pattern!r}", parameter="pattern"
        )
    folders = sorted((p for p in experiment.glob(pattern) if p.is_dir()), key=lambda p: sort_key(p.name))
    if not folders:
        raise UserError(
            f"expected folders named {pattern!r} in {experiment}; found none", parameter="pattern"
        )
    return folders


def model_number(folder: Path) -> int:
    """Return the number of a member from its folder's name.

    Raises
    ------
    UserError
        If the folder is not named model-<number>.
    """
    match = re.fullmatch(r"model-([1-9]\d*)", folder.name)
    if not match:
        raise UserError(f"expected folders named model-<number>; got {folder.name}", parameter="folder")
    return int(match[1])


def is_done(experiment: Path, number: int) -> bool:
    """Whether a member's training has ended and its weight file is whole."""
    try:
        read_weights(model_folder(experiment, number))
    except UserError:
        return False
    return True


def write_weights(folder: Path, weights: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """Write a member's weights (arrays by name) and then its done marker with ``about``."""
    content = tensor_file.to_bytes(weights)
    write_bytes(folder / "checkpoint" / "weights.safetensors", content)
    write_json(folder / "checkpoint" / "done.json", {**about, "sha256": sha256(content)})


def write_checkpoint(folder: Path, step: int, weights: Mapping[str, Any]) -> None:
    """Write a member's weights (arrays by name) after ``step`` training steps."""
    write_bytes(checkpoint_path(folder, step), tensor_file.to_bytes(weights))


def write_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write what a member carries after its last training step (arrays by name)."""
    write_bytes(_state_path(folder), tensor_file.to_bytes(state))


def read_state(folder: Path) -> dict[str, Any]:
    """Return what a member carried after its last training step (arrays by name).

    Raises
    ------
    UserError
        If the file is missing or damaged.
    """
    return _read_arrays(_state_path(folder), f"{folder.name}: expected a whole file of the carried state")


def _state_path(folder: Path) -> Path:
    return folder / "checkpoint" / "state.safetensors"


def checkpoint_path(folder: Path, step: int) -> Path:
    """Return where a member's weights after ``step`` training steps are kept."""
    return folder / "checkpoint" / f"step-{step}.safetensors"


def read_checkpoint(folder: Path, step: int | None) -> dict[str, Any]:
    """Return a member's weights (arrays by name) after ``step`` training steps; None: its last ones.

    A member whose training ended earlier has its last weights.

    Raises
    ------
    UserError
        If they were not kept or are damaged.
    """
    path = _checkpoint(folder, step)
    if path is None:
        return read_weights(folder)[0]
    return _read_arrays(path, f"{folder.name}: expected a whole weight file")


def _read_arrays(path: Path, expected: str) -> dict[str, Any]:
    try:
        return tensor_file.from_bytes(path.read_bytes())[0]
    except (FileNotFoundError, ValueError) as error:
        raise UserError(f"{expected} {path}; got {error}") from None


def checkpoint_hash(folder: Path, step: int | None) -> str:
    """Return the hash of the file that `read_checkpoint` reads."""
    path = _checkpoint(folder, step)
    return str(read_marker(folder)["sha256"]) if path is None else sha256(path.read_bytes())


def _checkpoint(folder: Path, step: int | None) -> Path | None:
    """Return the file of a checkpoint, None where the last weights stand for it."""
    if step is None:
        return None
    path = checkpoint_path(folder, step)
    if path.exists():
        return path
    last = read_marker(folder).get("step") if marker_path(folder).exists() else None
    if last is not None and last <= step:
        return None
    raise UserError(
        f"expected steps that training kept (keep_checkpoints); {path} does not exist", parameter="step"
    )


def marker_path(folder: Path) -> Path:
    """Return where a member's done marker is."""
    return folder / "checkpoint" / "done.json"


def read_marker(folder: Path) -> dict[str, Any]:
    """Return a member's done marker.

    Raises
    ------
    UserError
        If it is missing, or something else than a `DoneMarker`.
    """
    marker: dict[str, Any] = read_json(marker_path(folder))
    checked(marker, DoneMarker, marker_path(folder))
    return marker


def read_weights(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a member's weights (arrays by name) and its done marker.

    Raises
    ------
    UserError
        If the member is unfinished or its files do not belong together.
    """
    weights_path = folder / "checkpoint" / "weights.safetensors"
    if not marker_path(folder).exists():
        raise UserError(
            f"{folder.name}: expected a finished model; {marker_path(folder)} does not exist (train it to the end)"
        )
    marker = read_marker(folder)
    try:
        content = weights_path.read_bytes()
        if marker["sha256"] != sha256(content):
            raise UserError(
                f"{folder.name}: {weights_path} is truncated or changed: its hash differs from the recorded one"
            )
        return tensor_file.from_bytes(content)[0], marker
    except UserError:
        raise
    except (FileNotFoundError, ValueError) as error:
        raise UserError(f"{folder.name}: expected a whole weight file {weights_path}; got {error}") from None
