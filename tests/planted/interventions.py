"""Effects of interventions that were planted."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from emt import effects


@pytest.fixture
def make_effects() -> Callable[..., Any]:
    """Return a function that makes effects of shuffles, in which exactly the memory is needed.

    Of 40 queries a member answers the first 36 right, and 36 plus its place where the moving state is
    exchanged; without its memory it answers the first ``left`` plus its place.
    """

    def make(members: int = 6, steps: tuple[int, ...] = (1, 2, 3), left: int = 4, queries: int = 40) -> Any:
        kinds = {"moving": 36, "memory": left, "all": left}
        conditions: list[dict[str, Any]] = []
        right: list[Any] = []
        for after in steps:
            control = f"cut after {after}"
            conditions.append({"name": control, "kind": "states", "edit": "unchanged", "after": after})
            right.append(np.tile(np.arange(queries) < 36, (members, 1)))
            for part, count in kinds.items():
                conditions.append(
                    {"name": f"shuffle {part} after {after}", "kind": "states", "edit": "shuffle"}
                    | {"part": part, "after": after, "control": control}
                )
                counts = np.minimum(count + np.arange(members)[:, None], queries)
                right.append(np.arange(queries) < counts)
        each = np.stack(right, axis=1).astype(np.float32)
        variables = {
            **{name: each.copy() for name in ("right", "kept_right", "margin", "probability")},
            "counterfactual_right": np.full_like(each, np.nan),
            **{name: np.arange(queries) for name in ("sequence", "step")},
            "item": np.zeros(queries, int),
            "source": np.full((len(conditions), queries), -1),
            "lag": np.full((len(conditions), queries), np.nan),
            "norm": np.full_like(each, np.nan),
            "linear_margin": np.full_like(each, np.nan),
            "share": np.full_like(each, np.nan),
            **dict.fromkeys(("rescaled", "read_error"), np.full((members, len(conditions)), np.nan)),
        }
        about = {
            "experiment": "planted",
            "model": {"type": "fw"},
            "seeds": list(range(members)),
            "length": 11,
            "trials": queries,
            "accuracy": "argmax",
            "chance": 0.1,
            "conditions": conditions,
        }
        return effects.make(variables, [2 * i + 1 for i in range(members)], about)

    return make


@pytest.fixture
def make_write_effects() -> Callable[..., Any]:
    """Return a function that makes effects of interventions on writes.

    Of 40 queries of two items 38 are right unchanged and without another item's write, 4 plus the member's
    place without the queried one, and without any; with its value swapped 39 answer as the source, 1 where the
    other's is. Half a write leaves 20. Missed by the query's reads alone, writes cost 0.9 of the margin that their
    removal costs, of the queried item 10 and of the other 1; the linear estimate is half of what that costs.
    """
    right = {
        "unchanged": 38,
        "without other": 38,
        "without queried": 4,
        "without any": 4,
        "other x 0.5": 38,
        "queried x 0.5": 20,
        "without write 1 before": 38,
        "without write 2 before": 4,
        "without other, at the query": 38,
        "without queried, at the query": 5,
    }
    controls = {
        "without other": "unchanged",
        "without queried": "without other",
        "queried x 0.5": "other x 0.5",
        "queried with the value of another answer": "other with a value of another answer",
    }
    targets = {
        "other x 0.5": ("other", 0.5),
        "queried x 0.5": ("queried", 0.5),
        "without other": ("other", 0.0),
    }
    targets |= {"without queried": ("queried", 0.0)}
    targets |= {
        f"{name}, at the query": (name.removeprefix("without "), 0.0)
        for name in controls
        if "without" in name
    }
    targets |= {f"without write {k} before": (f"lag {k}", 0.0) for k in (1, 2)}
    costs = {"without other": 1.0, "without queried": 10.0}
    costs |= {f"{name}, at the query": 0.9 * cost for name, cost in costs.items()}
    swaps = {"queried with the value of another answer": 39, "other with a value of another answer": 1}

    def kind_of(name: str) -> str:
        marks = {" x ": "dose", " before": "map", "at the query": "reads"}
        return next((kind for mark, kind in marks.items() if mark in name), "writes")

    def make(members: int = 6, queries: int = 40) -> Any:
        names = [*right, *swaps]
        places, place = np.arange(queries), np.arange(members)[:, None]
        counts = {name: right.get(name, 0) + (0 if right.get(name, 0) > 20 else place) for name in names}
        each = np.stack([np.broadcast_to(places < counts[n], (members, queries)) for n in names], axis=1)
        sources = np.stack(
            [np.where(places < swaps[n], 1.0, 0.0) if n in swaps else np.full(queries, np.nan) for n in names]
        )
        margin = np.stack([places / queries - costs.get(n, 0.0) * (1 + places / queries) for n in names])
        linear = np.stack([-0.5 / 0.9 * costs.get(n, 0.0) * (1 + places / queries) for n in names])
        shape = (members, len(names), queries)
        conditions = [
            {
                "name": name,
                "kind": kind_of(name),
                "at": "query" if "at the query" in name else "write",
                "edit": "swap" if name in swaps else "unchanged" if name == "unchanged" else "scale",
                "control": controls.get(name, ""),
                "target": targets.get(name, ("", 0.0))[0],
                "amount": targets.get(name, ("", 0.0))[1],
            }
            for name in names
        ]
        variables = {
            **{name: each.astype(np.float32) for name in ("right", "kept_right", "probability")},
            "counterfactual_right": np.broadcast_to(sources, shape).astype(np.float32),
            "margin": np.broadcast_to(margin, shape).astype(np.float32),
            "norm": np.ones(shape, np.float32),
            "linear_margin": np.broadcast_to(linear, shape).astype(np.float32),
            "share": np.full(shape, np.nan, np.float32),
            **dict.fromkeys(("rescaled", "read_error"), np.zeros(shape[:2])),
            **dict.fromkeys(("sequence", "step"), places),
            "item": places % 2,
            "source": np.full(shape[1:], -1),
            "lag": np.ones(shape[1:]),
        }
        about = {
            "experiment": "planted",
            "model": {"type": "fw"},
            "seeds": list(range(members)),
            "length": 11,
        }
        about |= {"trials": queries, "accuracy": "argmax", "chance": 0.1, "conditions": conditions}
        return effects.make(variables, [2 * i + 1 for i in range(members)], about)

    return make


@pytest.fixture
def make_variable_effects() -> Callable[..., Any]:
    """Return a function that makes effects of exchanged variables: two slots of two bits in five units.

    Of 40 queries 38 are answered like the source where a slot is set, 30 where it is swapped, 4 plus the
    member's place in random directions, none in the next slot; 39 are right if nothing is exchanged, and 40 if
    everything else is. The two directions of a bit have the cosine 0.6, and slots do not differ by magnitudes.
    """
    shares = {
        ("unchanged", "", "all"): ("right", 39),
        ("set", "random", "slot 2"): ("counterfactual_right", 4),
        ("set", "own", "slot 2"): ("counterfactual_right", 38),
        ("set", "next slot", "slot 2"): ("counterfactual_right", 0),
        ("swap", "random", "slot 2"): ("counterfactual_right", 4),
        ("swap", "own", "slot 2"): ("counterfactual_right", 30),
        ("swap", "but own", "all"): ("kept_right", 40),
    }

    def make(members: int = 6, steps: tuple[int, ...] = (3, 5, 7), queries: int = 40) -> Any:
        conditions: list[dict[str, Any]] = []
        scores: dict[str, list[Any]] = {name: [] for name in ("right", "counterfactual_right", "kept_right")}
        place = np.arange(members)[:, None]
        for after in steps:
            controls = {"own": "{} random slot 2 {}", "but own": "unchanged  all {}"}
            for (edit, target, part), (score, count) in shares.items():
                conditions.append(
                    {"name": f"{edit} {target} {part} {after}", "kind": "variables", "edit": edit}
                    | {"part": part, "after": after, "target": target}
                    | {
                        "control": controls.get(target, "").format(
                            *((edit, after) if target == "own" else (after,))
                        )
                    }
                )
                counts = count + (place if target == "random" else 0 * place)
                for name, each in scores.items():
                    given = (np.arange(queries) < counts).astype(np.float32)
                    each.append(
                        given if name == score else np.full_like(given, np.nan if name != "right" else 1)
                    )
        shape = (members, len(conditions), queries)
        e, f = np.eye(5)[:2], np.array([[0.6, 0, 0.8, 0, 0], [0, 0.6, 0, 0.8, 0]])
        basis = np.concatenate([e, f]).T
        variables = {
            **{name: np.stack(each, axis=1) for name, each in scores.items()},
            **{
                n: np.zeros(shape, np.float32)
                for n in ("margin", "probability", "norm", "linear_margin", "share")
            },
            **dict.fromkeys(("rescaled", "read_error"), np.zeros(shape[:2])),
            "sequence": np.arange(queries),
            "step": np.full(queries, -1),
            "item": np.full(queries, -1),
            "source": np.zeros(shape[1:], int),
            "lag": np.full(shape[1:], np.nan),
            "basis": np.tile(basis, (members, 1, 1)),
            "reader": np.tile(np.linalg.pinv(basis), (members, 1, 1)),
            "position": np.arange(4),
        }
        about = {
            "experiment": "planted",
            "model": {"type": "rnn"},
            "seeds": list(range(members)),
            "length": 2,
        }
        about |= {"trials": queries, "accuracy": "sign", "chance": 0.5, "conditions": conditions, "width": 2}
        return effects.make(variables, [2 * i + 1 for i in range(members)], about)

    return make
