"""Fast Weight Memory: the equations step by step, and an exact form that never builds the memory between its ends.

For each member and batch item, with key_t = a_t ⊗ r_t (Schlag, Munkhdalai & Schmidhuber 2021,
arXiv:2011.07831, equations 1 to 8) and LN layer normalisation without gain and bias,

    o_t = F_{t-1} key_t,  u_t = γ_t (v_t - o_t)                                   (1) what the key held, what is added
    F'_t = F_{t-1} + u_t key_tᵀ,  s_t = max(1, ‖F'_t‖),  F_t = F'_t / s_t         (2) Frobenius norm
    n_i = LN(F_t (n_{i-1} ⊗ e_i)) for the reads i = 1 … N of a step               (3)

With c_t = s_1 … s_{t-1}, the product of the rescales so far, F_t is a sum of what was written, so that a step
needs only inner products of keys, each the product of two small ones, and the norm follows from the last one:

    o_t = F_0 key_t / c_t + Σ_{j<t} (c_j / c_t) (a_j·a_t) (r_j·r_t) u_j                                           (4)
    ‖F'_t‖² = ‖F_{t-1}‖² + 2 u_t·o_t + ‖u_t‖² ‖key_t‖²                                                            (5)
    F_t q = F_0 q / c_{t+1} + Σ_{j<=t} (c_j / c_{t+1}) (a_j·n) (r_j·e) u_j  for q = n ⊗ e                         (6)

Only (4) and (5) go step by step, and they hold vectors. Reads (6) are products over all steps at once. Ratios
of c are at most one; c itself may grow by hundreds of orders of magnitude, and is kept as a logarithm in
float64. Keys of one factor (the paper's appendix E: k1 and k2 side by side) follow the same equations with
one inner product.
"""

from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import layer_norm

from emt.ops.factored_keys import expand, parts
from emt.ops.fwm.reading import EPSILON, Place, blank_queries, read, read_backward
from emt.ops.fwm.writing import (
    Gradients,
    Written,
    last_contents,
    last_contents_backward,
    write,
    write_backward,
)
from emt.ops.precision import plain_matmul

_NUMBERS, _READ_NUMBERS = 64 * 200 * 32, 16 * 200 * 32
"""Numbers of values (row, time, value) that are worked on together in (4) and in (6): what fits a core's cache.

Measured on 200 steps of 32: half or twice of these or of the other modules' numbers changes the time of a step by less
than a tenth. On 30 steps of 16, as many rows as that cost three tenths more than as many numbers."""


class FWMRun(NamedTuple):
    """What a Fast Weight Memory did.

    Attributes
    ----------
    outputs
        n_N of the last read, (member, batch, query, value).
    memory
        F after the last step, (member, batch, value, key), the key axis being the Kronecker product of the
        factors.
    queries
        (n_{i-1}, e_i), or both side by side, (member, batch, query, read, factor, key); without gradient.
    values
        What the memory returned, before LN, (member, batch, query, read, value); without gradient.
    rescale
        s, (member, batch, time); without gradient.
    """

    outputs: Tensor
    memory: Tensor
    queries: Tensor
    values: Tensor
    rescale: Tensor


def fwm_steps(
    keys: Tensor,
    values: Tensor,
    strength: Tensor,
    first: Tensor | None,
    partners: Tensor,
    memory: Tensor | None = None,
    steps: Tensor | None = None,
    epsilon: float = EPSILON,
) -> FWMRun:
    """Equations (1) to (3), one step after the other; arguments and result as in :func:`fwm`."""
    one_factor = keys.shape[3] == 1
    size = keys.shape[4] if one_factor else keys.shape[4] ** 2
    f = values.new_zeros(*values.shape[:2], values.shape[3], size) if memory is None else memory
    contents, rescale = [], []
    for t in range(keys.shape[2]):
        key = expand(keys[:, :, t].unbind(2))
        added = strength[:, :, t, None] * (values[:, :, t] - _times(f, key))
        f = f + added.unsqueeze(-1) * key.unsqueeze(-2)
        rescale.append(f.square().sum((-2, -1)).clamp(min=1).sqrt())
        f = f / rescale[-1][..., None, None]
        contents.append(f)
    held = torch.stack(contents, dim=2)
    if steps is not None:
        held = held.gather(2, steps[..., None, None].expand(*steps.shape, *f.shape[2:]))
    normal, queries, returned = first, [], []
    for partner in partners.unbind(3):
        if normal is None:
            factors: tuple[Tensor, ...] = (partner,)
        else:
            factors = (torch.cat([normal, partner], dim=-1),) if one_factor else (normal, partner)
        queries.append(torch.stack(factors, dim=3))
        returned.append(_times(held, expand(factors)))
        normal = layer_norm(returned[-1], values.shape[-1:], eps=epsilon)
    assert normal is not None
    log = torch.stack(queries, dim=3), torch.stack(returned, dim=3), torch.stack(rescale, dim=2)
    return FWMRun(normal, f, *(tensor.detach() for tensor in log))


def fwm(
    keys: Tensor,
    values: Tensor,
    strength: Tensor,
    first: Tensor | None,
    partners: Tensor,
    memory: Tensor | None = None,
    steps: Tensor | None = None,
    epsilon: float = EPSILON,
) -> FWMRun:
    """Write to and read from a Fast Weight Memory over a sequence; gradients are exact, once differentiable.

    What is kept for them grows with the steps and not with the memory's size. The cost of (6) grows with the
    square of the steps: several hundred are faster cut, with ``memory`` carried.

    Parameters
    ----------
    keys
        The factors of each key, (member, batch, time, factor, key): a_t and r_t, each of the size of a value;
        or one of twice that size.
    values
        v, (member, batch, time, value).
    strength
        γ, (member, batch, time); 0 writes nothing.
    first
        n_0 of each query, (member, batch, query, value); None: queries are all of their partner, and read once.
    partners
        e_1 to e_N, (member, batch, query, read, value); without ``first`` of the size of the one-factor keys.
    memory
        F before the first step, (member, batch, value, key) as in the result; None means zero, and costs
        nothing.
    steps
        After which step each query is asked, (member, batch, query), integers; None means one query at every
        step.
    epsilon
        Added to the variance in LN, which multiplies differences of what was read by up to epsilon^(-1/2).
    """
    given = keys.transpose(2, 3), values, strength, first, partners.transpose(2, 3), memory, steps
    results = _Memory.apply(*(None if x is None else x.flatten(0, 1) for x in given), epsilon)
    outputs, held, queries, returned, rescale = (x.unflatten(0, keys.shape[:2]) for x in results)
    return FWMRun(outputs, held, queries.permute(0, 1, 4, 2, 3, 5), returned.transpose(2, 3), rescale)


Fields = TypeVar("Fields", Written, Gradients)


class _Arguments(NamedTuple):
    """What `_Memory` is applied to, in this order; in the backward pass, whether each is wanted, or its gradient."""

    keys: Any = None
    values: Any = None
    strength: Any = None
    first: Any = None
    partners: Any = None
    memory: Any = None
    steps: Any = None
    epsilon: Any = None


class _Saved(NamedTuple):
    """What the backward pass needs beside what was written; ``queries`` and ``returned`` are those of all reads."""

    keys: Tensor
    values: Tensor
    strength: Tensor
    memory: Tensor | None
    steps: Tensor | None
    queries: Tensor
    returned: Tensor


class _Memory(torch.autograd.Function):
    """Equations (4) to (6): (outputs, memory, queries, values, rescale), with rows for members and batch items.

    Keys are (row, factor, time, key), queries (row, read, factor, query, key), partners and values that were
    read (row, read, query, value). Inner products of keys are computed again in the backward pass.
    """

    @staticmethod
    @plain_matmul()
    def forward(
        ctx: Any,
        keys: Tensor,
        values: Tensor,
        strength: Tensor,
        first: Tensor | None,
        partners: Tensor,
        memory: Tensor | None,
        steps: Tensor | None,
        epsilon: float,
    ) -> tuple[Tensor, ...]:
        ctx.epsilon, ctx.partner = epsilon, partners.shape[-1]
        keys, values, strength = keys.contiguous(), values.contiguous(), strength.contiguous()
        written = Written(
            torch.empty_like(values),
            torch.empty_like(values),
            torch.empty_like(strength),
            strength.new_zeros(strength.shape[0], strength.shape[1] + 1, dtype=torch.float64),
        )
        for part in _parts(values, _NUMBERS):
            write(keys[part], values[part], strength[part], _at(memory, part), _at_all(written, part))
        queries = blank_queries(keys, first, partners)
        returned = partners.new_empty(*partners.shape[:-1], values.shape[-1])
        outputs = torch.empty_like(returned[:, 0])
        for part in _parts(values, _READ_NUMBERS):
            place = Place.of(keys[part], _at_all(written, part), _at(memory, part), _at(steps, part))
            outputs[part] = read(place, queries[part], returned[part], epsilon)
        rescale = written.squares.clamp(min=1).sqrt_()
        ctx.save_for_backward(*_Saved(keys, values, strength, memory, steps, queries, returned), *written)
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(queries, returned, rescale)
        return outputs, last_contents(keys, written, memory), queries, returned, rescale

    @staticmethod
    @once_differentiable
    @plain_matmul()
    def backward(
        ctx: Any, d_outputs: Tensor | None, d_memory: Tensor | None, *_: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        count = len(_Saved._fields)
        keys, values, strength, memory, steps, queries, returned = _Saved(*ctx.saved_tensors[:count])
        written = Written(*ctx.saved_tensors[count:])
        d = Gradients(
            torch.zeros_like(keys),
            torch.zeros_like(values),
            torch.zeros_like(written.log_scale, dtype=values.dtype),
            None
            if memory is None or not _Arguments(*ctx.needs_input_grad).memory
            else torch.zeros_like(memory),
        )
        d_queries = torch.zeros_like(queries)
        d_added, d_old = torch.empty_like(values), torch.empty_like(values)
        if d_memory is not None:
            last_contents_backward(keys, written, memory, d_memory, d)
        if d_outputs is not None:
            for part in _parts(values, _READ_NUMBERS):
                place = Place.of(keys[part], _at_all(written, part), _at(memory, part), _at(steps, part))
                reads = queries[part], returned[part], d_outputs[part], d_queries[part]
                read_backward(place, *reads, _at_all(d, part), ctx.epsilon)
        for part in _parts(values, _NUMBERS):
            rows = keys[part], strength[part], _at(memory, part), _at_all(written, part)
            write_backward(*rows, _at_all(d, part), d_added[part], d_old[part])
        d_first = (
            d_queries[:, 0, 0, :, : returned.shape[-1]] if _Arguments(*ctx.needs_input_grad).first else None
        )
        d_partners = d_queries[:, :, -1, :, -ctx.partner :]
        d_strength = (d_added * (values - written.old)).sum(-1)
        return _Arguments(
            keys=d.keys,
            values=d_added * strength.unsqueeze(-1),
            strength=d_strength,
            first=d_first,
            partners=d_partners,
            memory=d.memory,
        )


def _parts(values: Tensor, numbers: int) -> list[slice]:
    """Return the rows of values (row, time, value) that are worked on together."""
    return parts(values, max(1, numbers // max(1, values.shape[1] * values.shape[2])))


def _times(memory: Tensor, key: Tensor) -> Tensor:
    return (memory @ key.unsqueeze(-1)).squeeze(-1)


def _at(value: Tensor | None, part: slice) -> Tensor | None:
    return None if value is None else value[part]


def _at_all(values: Fields, part: slice) -> Fields:
    return type(values)._make(_at(value, part) for value in values)
