"""How much do members differ in what they answer? Losses, accuracies and answers on the same trials."""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from analysis.errors import AnalysisError
from emt import trace

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Behaviour:
    """Answers of members.

    Attributes
    ----------
    loss
        Mean loss over judged steps, (member,): squared error where outputs are compared with targets by their sign,
        cross entropy where the largest output is the answer.
    accuracy
        Share of right answers, (member,): of output numbers of the right sign, or of steps with the right class.
    disagreement
        Share of judged steps at which two members answer differently, (member, member).
    """

    loss: Array
    accuracy: Array
    disagreement: Array


def measure_behaviour(recording: xr.DataTree) -> Behaviour:
    """Compare the answers of recorded members at judged steps.

    Raises
    ------
    AnalysisError
        If it is not known what right answers are, or members saw different trials.
    """
    rule = trace.about(recording).accuracy
    if rule is None or not recording.sizes.get("target"):
        raise AnalysisError("no comparison of answers: the trials have no known right answers")
    if "member" in recording["targets"].dims:
        raise AnalysisError("no comparison of answers: members' actions changed what they saw")
    judged = recording["scored"].to_numpy().astype(bool) & trace.present_steps(recording)
    targets = recording["targets"].to_numpy()[judged].astype(float)
    outputs = recording["outputs"].to_numpy()[:, judged, : targets.shape[-1]].astype(float)
    if not len(targets):
        raise AnalysisError("no comparison of answers: no step is judged")
    if rule == "sign":
        loss = ((outputs - targets) ** 2).mean(axis=(1, 2))
        answers = np.sign(outputs)
        accuracy = (answers == np.sign(targets)).mean(axis=(1, 2))
    else:
        loss, answers = _cross_entropy(outputs, targets), outputs.argmax(axis=-1)[..., None]
        accuracy = (answers[..., 0] == targets.argmax(axis=-1)).mean(axis=1)
    different = [[(a != b).any(axis=-1).mean() for b in answers] for a in answers]
    return Behaviour(loss, accuracy, np.array(different))


def _cross_entropy(outputs: Array, targets: Array) -> Array:
    """Return −Σ_k target_k log softmax(output)_k, a mean over steps, (member,)."""
    largest = outputs.max(axis=-1, keepdims=True)
    total = largest + np.log(np.exp(outputs - largest).sum(axis=-1, keepdims=True))
    return np.asarray(((total - outputs) * targets).sum(axis=-1).mean(axis=-1))
