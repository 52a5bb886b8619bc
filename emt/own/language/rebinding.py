"""Watch a language model: the functions that compute its recurrences are replaced while it runs, and then put back.

A model's modules call these functions by a global name of the module of code that defines them. While a model is
watched that name stands for a function that calls the original, returns what it returns, and reads its arguments.
"""

import contextlib
import inspect
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from emt.errors import UserError
from emt.models.memory_edits import MemoryEdit
from emt.own.language.calls import Call, Chosen
from emt.own.language.edits import EDITORS, edits_of
from emt.own.language.readers import BACKEND, READERS, UNREAD, mlstm

Seen = Callable[[str, Call], None]
"""Takes the name of a memory's node and the call that it logs."""

STATES = ("initial_state", "initial_states", "c_initial", "n_initial", "m_initial")
"""Parameters that carry the state of an earlier run."""

HALF_TOLERANCE = 2e-2
"""Largest relative difference of outputs in bfloat16 and float16, which are rounded to 8 and 11 bits."""

_LOCK = threading.Lock()


@contextlib.contextmanager
def watched(
    model: nn.Module, chosen: Chosen, seen: Seen, edits: Mapping[str, MemoryEdit] | None = None
) -> Iterator[None]:
    """Hand each call of a recurrence of the chosen layers to ``seen``, while the model runs.

    ``edits``, by node, change what is written (`emt.own.language.edits`); the calls are those of the edited run.

    Names of modules belong to the whole process: one model is watched at a time.

    Raises
    ------
    UserError
        If another model is being watched; while the model runs, if a call cannot be read.
    """
    if not _LOCK.acquire(blocking=False):
        raise UserError(
            "from_transformers: another model is being recorded in this process; try again after it"
        )
    watch = _Watch(chosen, seen, edits or {})
    bound = [(module, name, getattr(module, name)) for module, name in _functions(model)]
    hooks: list[Any] = []
    try:
        for path, part in model.named_modules():
            if isinstance(number := getattr(part, "layer_idx", None), int):
                hooks.append(part.register_forward_pre_hook(watch.entering(number)))
            elif type(part).__name__ == BACKEND:
                hooks.append(part.register_forward_hook(watch.backend(_number(path)), with_kwargs=True))
        for module, name, original in bound:
            setattr(module, name, watch.function(name, original))
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for module, name, original in bound:
            setattr(module, name, original)
        _LOCK.release()


def _functions(model: nn.Module) -> list[tuple[ModuleType, str]]:
    """Return the functions that a model may call and that are known here: their modules, and names there."""
    files = {kind.__module__ for part in model.modules() for kind in type(part).__mro__}
    modules = [sys.modules[name] for name in sorted(files) if name in sys.modules]
    return [
        (module, name)
        for module in modules
        for name in (*READERS, *UNREAD)
        if callable(vars(module).get(name))
    ]


def _number(path: str) -> int:
    """Return the number of a layer from the path of a part of it."""
    return int(next(word for word in reversed(path.split(".")) if word.isdigit()))


class _Watch:
    """What is known while a model runs: which layer it is at, and how often each was called."""

    def __init__(self, chosen: Chosen, seen: Seen, edits: Mapping[str, MemoryEdit]) -> None:
        self.chosen, self.seen, self.edits = chosen, seen, edits
        self.layer, self.part = 0, nn.Module()
        self.calls: Counter[int] = Counter()
        self.inside = False

    def entering(self, number: int) -> Callable[..., None]:
        def hook(part: nn.Module, _: Any) -> None:
            # Blocks and what is inside may both say which layer they are: the innermost is called last.
            self.layer, self.part = number, part

        return hook

    def backend(self, number: int) -> Callable[..., None]:
        def hook(part: nn.Module, args: Any, kwargs: Mapping[str, Any], returned: Any) -> None:
            self.layer, self.part = number, part
            given = _arguments(part.forward, args, kwargs)
            self._read(self._enter(), mlstm, returned, {**given, "eps": getattr(part.config, "eps", 1e-6)})

        return hook

    def function(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if self.inside:
                return original(*args, **kwargs)
            known, lost = name in READERS, None
            given = _arguments(original, args, kwargs) if known else {}
            node = self._enter() if known else ""
            self.inside = True
            try:
                if node in self.edits:
                    given, lost = EDITORS[name](self.edits[node], given)
                    returned = original(**given)
                else:
                    returned = original(*args, **kwargs)
            finally:
                self.inside = False
            if known:
                self._read(node, READERS[name], returned, given, edits_of(name, self.chosen.heads is None))
            elif returned is not None:
                raise UserError(
                    f"layer{self.layer}: computes its recurrence with {name}, whose writes cannot be read: "
                    "expected a run from the start, without fused kernels"
                )
            return returned if lost is None else _with(returned, lost)

        return call

    def _enter(self) -> str:
        """Return the name of the node that a call of the layer's recurrence is logged as."""
        self.calls[self.layer] += 1
        count = self.calls[self.layer]
        return f"layer{self.layer}" + (f"_call{count}" if count > 1 else "")

    def _read(
        self,
        node: str,
        reader: Callable[..., Call],
        returned: Any,
        given: Mapping[str, Any],
        edits: tuple[str, ...] = (),
    ) -> None:
        for name in STATES:
            if isinstance(state := given.get(name), Tensor) and bool(state.any()):
                raise UserError(f"{node}: carries a state from before; expected a run from the start")
        if self.chosen.layers is not None and self.layer not in self.chosen.layers:
            return
        try:
            inspect.signature(reader).bind(self.chosen, returned, **given)
        except TypeError as error:
            raise UserError(
                f"{node}: calls its recurrence in a way that is not known here: {error}"
            ) from None
        call = reader(self.chosen, returned, **given)
        tolerance = HALF_TOLERANCE if _is_half(call.returned, *given.values()) else call.tolerance
        mixes = max(call.mixes, _convolved(self.part))
        self.seen(node, replace(call, tolerance=tolerance, mixes=mixes, edits=edits))


def _with(returned: Any, lost: Tensor) -> Any:
    """Return outputs with what they lack; a function may also return its last state."""
    if isinstance(returned, tuple):
        return (returned[0] + lost.to(returned[0]), *returned[1:])
    return returned + lost.to(returned)


def _arguments(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Return arguments by the names of a function's parameters, its defaults included."""
    bound = inspect.signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    further = [p.name for p in bound.signature.parameters.values() if p.kind is p.VAR_KEYWORD]
    given = dict(bound.arguments)
    for name in further:
        given |= given.pop(name)
    return given


def _is_half(*given: Any) -> bool:
    """Whether a tensor is rounded to the digits of half precision."""
    return any(isinstance(x, Tensor) and x.dtype in (torch.bfloat16, torch.float16) for x in given)


def _convolved(part: nn.Module) -> int:
    """Return how many tokens the convolution of a layer mixes, 1 without one."""
    kernels = [
        p.kernel_size[0] for p in part.modules() if isinstance(p, nn.Conv1d) and p.groups == p.in_channels
    ]
    return max(kernels, default=1)
