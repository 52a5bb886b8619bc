"""Traces of associative memories that store pairs, and what one linear memory does, step by step."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from emt import trace
from emt.memory_nodes import name_axes


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
    erase_query: np.ndarray | None = None,
    erase_key: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Run one linear memory of one trial, as its equation stands; NaN keys write nothing, NaN keeps forget nothing.

    Axes: keys, erase_query, erase_key (time, key), values (time, value), strengths (time,), keep (time,) or
    (time, key), queries (time, read, key). Returns contents after each step (time, value, key) and answers
    (time, read, value).
    """
    content = np.zeros((values.shape[-1], keys.shape[-1]))
    contents, answers = [], []
    for t in range(len(keys)):
        before = content
        if np.isfinite(keep[t]).all():
            content = keep[t] * keep_mask * content
        if np.isfinite(keys[t]).all():
            if erase_query is None or erase_key is None:
                content = content @ (np.eye(keys.shape[-1]) - erase[t] * np.outer(keys[t], keys[t]))
            else:
                content = content - erase[t] * np.outer(before @ erase_query[t], erase_key[t])
            content = content + strength[t] * gain_mask * np.outer(values[t], keys[t])
        found = before if reads == "before" else content
        answers.append([found @ query for query in queries[t]])
        contents.append(content)
    return np.stack(contents), np.array(answers)


def trace_of(
    memories: dict[str, dict[str, Any]], events: dict[str, np.ndarray], about: dict[str, Any]
) -> Any:
    """Return a trace with these memories: name -> variables beside its ``rule``."""
    first = next(iter(memories.values()))
    members, batch, steps = first["write_strength"].shape[:3]
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
        variables = {n: value for n, value in content.items() if n != "rule"}
        dims = name_axes({n: value.ndim for n, value in variables.items()})
        nodes[name] = {n: (dims[n], value) for n, value in variables.items()}
    rules = {name: content["rule"] for name, content in memories.items()}
    numbers = [2 * i + 1 for i in range(members)]
    return trace.make(root, numbers, {"model": {"type": "planted"}, "memories": rules, **about}, nodes)


def plant_pairs(
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
    """Return a trace of members that store pairs and are asked for one of them.

    A trial is c9k8…??k: letters and digits in turn, two question marks, the letter asked for. Each step
    writes under a key of its own, orthogonal to the others; reads at a letter's second coming use the key of
    its digit's step. With ``shuffled`` the written keys of each trial change places, with ``strength`` 0
    nothing is stored.
    """
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
            strengths, erase, keep = (x[place] for x in constants)
            log = keys[place], values[place], strengths, erase, keep, queries[place]
            answers[place] = recall_by_loop(*log, "before")[1]
        names = ("write_key", "write_value", "write_strength", "write_erase", "write_keep", "read_query")
        arrays = dict(zip(names, (keys, values, *constants, queries), strict=True)) | {"read_value": answers}
        return {n: a.astype(np.float32) for n, a in arrays.items()} | {
            "rule": {"kind": "linear", "reads": "before"}
        }

    names = [*"abcdefghijklmnopqrstuvwxyz0123456789?"]
    about = {"tokens": names} if tokens else {}
    return trace_of({name: memory() for name in memories}, events, about)
