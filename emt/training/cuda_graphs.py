"""Training steps on a GPU as CUDA graphs: recorded once, then started as a whole.

A recurrent network is many small kernels, one after the other, and starting each from Python takes longer
than most of them run. A recorded step has its data at fixed places: new data are copied there.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Work = Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], list[Tensor]]
"""(weights by name, data by name) → results; reads nothing else that changes."""

Capture = Callable[[Callable[[], list[Tensor]]], tuple[Callable[[], None], list[Tensor]]]
"""Records a function: what does it again, and its results, which are written over each time."""

WARM_UP_RUNS = 3


class CudaGraphs:
    """Records what functions do on the GPU; see `Capture`. Recordings share their memory: one is replayed at a time."""

    def __init__(self) -> None:
        self._pool: Any = None

    def __call__(self, work: Callable[[], list[Tensor]]) -> tuple[Callable[[], None], list[Tensor]]:
        """Run the function a few times, then record it."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP_RUNS):
                work()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            results = work()
        self._pool = graph.pool()
        return graph.replay, results


class Recording:
    """A function of data, recorded for the weights' places and the data's shapes.

    Parameters
    ----------
    work
        The function; weights are read where they are now.
    weights
        Tensors that are changed in place only, as long as the recording is used.
    data
        The first data, in the host's memory.
    capture
        How to record.
    """

    def __init__(
        self, work: Work, weights: Mapping[str, Tensor], data: Mapping[str, Tensor], capture: Capture
    ) -> None:
        device = next(iter(weights.values())).device
        self._data = {name: value.to(device, copy=True) for name, value in data.items()}
        self._replay, self._results = capture(lambda: work(weights, self._data))

    def __call__(self, data: Mapping[str, Tensor]) -> list[Tensor]:
        """Return the results for other data of the same shapes; the next call writes over them."""
        for name, value in data.items():
            self._data[name].copy_(value)
        self._replay()
        return self._results


def is_recordable(work: Work, weights: Mapping[str, Tensor], data: Mapping[str, Tensor]) -> bool:
    """Whether a function only ever asks the device for work: no look at a value, nothing fetched from the host.

    Found out on tensors without values, so that it is known on any machine, and before a GPU is asked to
    record.
    """
    placeless_weights = {name: nn.Parameter(w.to("meta"), w.requires_grad) for name, w in weights.items()}
    placeless_data = {name: value.to("meta") for name, value in data.items()}
    try:
        with _NothingFromTheHost(), _OnOneDevice():
            work(placeless_weights, placeless_data)
    except (RuntimeError, TypeError):
        # What torch raises where a tensor without values is asked for one.
        return False
    return True


class _NothingFromTheHost(TorchFunctionMode):
    """Refuses tensors that are made on the device from the host's numbers."""

    MAKERS = (torch.tensor, torch.as_tensor, torch.Tensor.new_tensor)

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        if func in self.MAKERS and result.device.type != "cpu":
            raise RuntimeError(f"{func} copies from the host")
        return result


class _OnOneDevice(TorchDispatchMode):
    """Refuses operations between devices; a single number from the host is none, it travels with the call."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        tensors = [t for t in tree_leaves((args, kwargs, result)) if isinstance(t, Tensor)]
        if len({t.device.type for t in tensors}) > 1:
            copies = "copy" in func.__name__
            if copies or any(t.device.type == "cpu" and t.ndim for t in tensors):
                raise RuntimeError(f"{func} works on two devices")
        return result
