"""Fast Weight Memory: the equations step by step, and an exact form that never builds the memory between its ends.

For each member and batch item, with key_t = a_t ⊗ r_t (Schlag, Munkhdalai & Schmidhuber 2021, arXiv:2011.07831,
equations 1 to 8) and LN layer normalisation without gain and bias,

    o_t = F_{t-1} key_t,  u_t = γ_t (v_t - o_t)                                   (1) what the key held, what is added
    F'_t = F_{t-1} + u_t key_tᵀ,  s_t = max(1, ‖F'_t‖),  F_t = F'_t / s_t         (2) Frobenius norm
    n_i = LN(F_t (n_{i-1} ⊗ e_i)) for the reads i = 1 … N of a step               (3)

With c_t = s_1 … s_{t-1}, the product of the rescales so far, F_t is a sum of what was written, so that a step needs
only inner products of keys, each the product of two small ones, and the norm follows from the last one:

    o_t = F_0 key_t / c_t + Σ_{j<t} (c_j / c_t) (a_j·a_t) (r_j·r_t) u_j                                           (4)
    ‖F'_t‖² = ‖F_{t-1}‖² + 2 u_t·o_t + ‖u_t‖² ‖key_t‖²                                                            (5)
    F_t q = F_0 q / c_{t+1} + Σ_{j<=t} (c_j / c_{t+1}) (a_j·n) (r_j·e) u_j  for q = n ⊗ e                         (6)

Only (4) and (5) go step by step, and they hold vectors. Reads (6) are products over all steps at once. Ratios of c are
at most one; c itself may grow by hundreds of orders of magnitude, and is kept as a logarithm in float64. Keys of one
factor (the paper's appendix E: k1 and k2 side by side) follow the same equations with one inner product.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import layer_norm, pad

from emt.ops.precision import plain_matmul

EPSILON = 1e-5
"""Added to the variance in the layer normalisation."""

_STEPS = 20
"""Steps that are worked on together in (4)."""

_ROWS, _READ_ROWS, _READ_STEPS = 64, 16, 50
"""Rows, and steps, of what is worked on together in (4) and in (6): what fits a core's cache."""

_EXPANDED_ROWS = 4
"""Rows whose keys are expanded to tensor products together. Measured: half or twice any of these numbers
changes the time of a step by less than a tenth."""

_norm_backward = torch.ops.aten.native_layer_norm_backward


class FWMRun(NamedTuple):
    """What a Fast Weight Memory did.

    Attributes
    ----------
    outputs
        n_N of the last read, (member, batch, query, value).
    memory
        F after the last step, (member, batch, value, key), the key axis being the Kronecker product of the factors.
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
    first: Tensor,
    partners: Tensor,
    memory: Tensor | None = None,
    steps: Tensor | None = None,
) -> FWMRun:
    """Equations (1) to (3), one step after the other; arguments and result as in :func:`fwm`."""
    one_factor = keys.shape[3] == 1
    size = keys.shape[4] if one_factor else keys.shape[4] ** 2
    f = values.new_zeros(*values.shape[:2], values.shape[3], size) if memory is None else memory
    contents, rescale = [], []
    for t in range(keys.shape[2]):
        key = _expand(keys[:, :, t].unbind(2))
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
        factors = (torch.cat([normal, partner], dim=-1),) if one_factor else (normal, partner)
        queries.append(torch.stack(factors, dim=3))
        returned.append(_times(held, _expand(factors)))
        normal = layer_norm(returned[-1], normal.shape[-1:], eps=EPSILON)
    log = torch.stack(queries, dim=3), torch.stack(returned, dim=3), torch.stack(rescale, dim=2)
    return FWMRun(normal, f, *(tensor.detach() for tensor in log))


def fwm(
    keys: Tensor,
    values: Tensor,
    strength: Tensor,
    first: Tensor,
    partners: Tensor,
    memory: Tensor | None = None,
    steps: Tensor | None = None,
) -> FWMRun:
    """Write to and read from a Fast Weight Memory over a sequence; gradients are exact, once differentiable.

    What is kept for them grows with the steps and not with the memory's size. The cost of (6) grows with the square of
    the steps: several hundred are faster cut, with ``memory`` carried.

    Parameters
    ----------
    keys
        The factors of each key, (member, batch, time, factor, key): a_t and r_t, each of the size of a value; or one of
        twice that size.
    values
        v, (member, batch, time, value).
    strength
        γ, (member, batch, time); 0 writes nothing.
    first
        n_0 of each query, (member, batch, query, value).
    partners
        e_1 to e_N, (member, batch, query, read, value).
    memory
        F before the first step, (member, batch, value, key) as in the result; None means zero, and costs nothing.
    steps
        After which step each query is asked, (member, batch, query), integers; None means one query at every step.
    """
    given = keys.transpose(2, 3), values, strength, first, partners.transpose(2, 3), memory, steps
    results = _Memory.apply(*(None if x is None else x.flatten(0, 1) for x in given))
    outputs, held, queries, returned, rescale = (x.unflatten(0, keys.shape[:2]) for x in results)
    return FWMRun(outputs, held, queries.permute(0, 1, 4, 2, 3, 5), returned.transpose(2, 3), rescale)


class _Written(NamedTuple):
    """What (4) and (5) found: u and o (row, time, value), ‖F'‖² (row, time), log c in float64 (row, time + 1)."""

    added: Tensor
    old: Tensor
    squares: Tensor
    log_scale: Tensor


class _Gradients(NamedTuple):
    """Gradients so far of keys, of u and log c, and of F_0 (None where nobody asked)."""

    keys: Tensor
    added: Tensor
    log_scale: Tensor
    memory: Tensor | None


Fields = TypeVar("Fields", _Written, _Gradients)


class _Memory(torch.autograd.Function):
    """Equations (4) to (6): (outputs, memory, queries, values, rescale), with rows for members and batch items.

    Keys are (row, factor, time, key), queries (row, read, factor, query, key), partners and values that were read
    (row, read, query, value). Inner products of keys are computed again in the backward pass.
    """

    @staticmethod
    @plain_matmul()
    def forward(
        ctx: Any,
        keys: Tensor,
        values: Tensor,
        strength: Tensor,
        first: Tensor,
        partners: Tensor,
        memory: Tensor | None,
        steps: Tensor | None,
    ) -> tuple[Tensor, ...]:
        keys, values, strength = keys.contiguous(), values.contiguous(), strength.contiguous()
        written = _Written(
            torch.empty_like(values),
            torch.empty_like(values),
            torch.empty_like(strength),
            strength.new_zeros(strength.shape[0], strength.shape[1] + 1, dtype=torch.float64),
        )
        for part in _parts(keys, _ROWS):
            _write(keys[part], values[part], strength[part], _at(memory, part), _at_all(written, part))
        queries, returned = _blank_queries(keys, first, partners), torch.empty_like(partners).contiguous()
        outputs = torch.empty_like(returned[:, 0])
        for part in _parts(keys, _READ_ROWS):
            place = _Place.of(keys[part], _at_all(written, part), _at(memory, part), _at(steps, part))
            outputs[part] = _read(place, queries[part], returned[part])
        rescale = written.squares.clamp(min=1).sqrt_()
        ctx.save_for_backward(keys, values, strength, memory, steps, queries, returned, *written)
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(queries, returned, rescale)
        return outputs, _contents(keys, written, memory), queries, returned, rescale

    @staticmethod
    @once_differentiable
    @plain_matmul()
    def backward(
        ctx: Any, d_outputs: Tensor | None, d_memory: Tensor | None, *_: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        keys, values, strength, memory, steps, queries, returned, *saved = ctx.saved_tensors
        written = _Written(*saved)
        d = _Gradients(
            torch.zeros_like(keys),
            torch.zeros_like(values),
            torch.zeros_like(written.log_scale, dtype=values.dtype),
            torch.zeros_like(memory) if ctx.needs_input_grad[5] else None,
        )
        d_queries, d_first = torch.zeros_like(queries), torch.zeros_like(returned[:, 0])
        d_added, d_old = torch.empty_like(values), torch.empty_like(values)
        if d_memory is not None:
            _contents_backward(keys, written, memory, d_memory, d)
        if d_outputs is not None:
            for part in _parts(keys, _READ_ROWS):
                place = _Place.of(keys[part], _at_all(written, part), _at(memory, part), _at(steps, part))
                reads = queries[part], returned[part], d_outputs[part], d_queries[part]
                d_first[part] = _read_backward(place, *reads, _at_all(d, part))
        for part in _parts(keys, _ROWS):
            rows = keys[part], strength[part], _at(memory, part), _at_all(written, part)
            _write_backward(*rows, _at_all(d, part), d_added[part], d_old[part])
        d_partners = d_queries[:, :, -1, :, -returned.shape[-1] :]
        d_strength = (d_added * (values - written.old)).sum(-1)
        return d.keys, d_added * strength.unsqueeze(-1), d_strength, d_first, d_partners, d.memory, None


# Writing: equations (4) and (5)


def _write(keys: Tensor, values: Tensor, strength: Tensor, memory: Tensor | None, written: _Written) -> None:
    """Fill ``written``: in a block of steps in time order, from before it by one product."""
    solve = _by_steps if keys.device.type == "cpu" else _by_sweeps
    # What was written before the block, and F_0 key_t, both as they count when it begins.
    held = torch.zeros_like(values)
    base = None if memory is None else _through(keys, memory)
    square = values.new_zeros(len(values)) if memory is None else memory.square().sum((1, 2))
    for block in _blocks(values.shape[1], _STEPS):
        gram = _product(_inner(keys[:, :, block], keys[:, :, : block.stop]))
        start = gram[..., : block.start] @ held[:, : block.start]
        if base is not None:
            start += base[:, block]
        found = solve(gram[..., block.start :], start, values[:, block], strength[:, block], square)
        for whole, piece in zip(written, found, strict=False):
            whole[:, block] = piece
        square = found[2][:, -1].clamp(max=1)
        grown = found[2].clamp(min=1).double().log_().mul_(0.5).cumsum_(1)
        written.log_scale[:, block.start + 1 : block.stop + 1] = grown + written.log_scale[:, block.start, None]
        decays = (pad(grown, (1, 0)) - grown[:, -1:]).exp_().to(values.dtype).unsqueeze(-1)
        held[:, : block.start] *= decays[:, :1]
        torch.mul(found[0], decays[:, :-1], out=held[:, block])
        if base is not None:
            base *= decays[:, :1]


def _by_steps(gram: Tensor, start: Tensor, values: Tensor, strength: Tensor, square: Tensor) -> tuple[Tensor, ...]:
    """Return u, o (row, step, value) and ‖F'‖² (row, step) of the steps of a block.

    Parameters
    ----------
    gram
        key_t·key_j within the block, (row, step, step).
    start
        What each key would find if the block wrote nothing, (row, step, value).
    values, strength
        v (row, step, value) and γ (row, step).
    square
        ‖F‖² before the block, (row,).
    """
    # Time comes first, so that a step is one piece of memory. o_t is complete when its turn comes.
    gram, strength = (x.unsqueeze(-1).contiguous() for x in (gram.permute(2, 1, 0), strength.t()))
    old, values = start.transpose(0, 1).contiguous(), values.transpose(0, 1).contiguous()
    added, squares, square = torch.empty_like(old), torch.empty_like(strength), square.unsqueeze(-1)
    for t, (u, o, now) in enumerate(zip(added.unbind(), old.unbind(), squares.unbind(), strict=True)):
        torch.sub(values[t], o, out=u).mul_(strength[t])
        torch.sum((u * gram[t, t]).add_(o, alpha=2).mul_(u), -1, keepdim=True, out=now)
        now += square
        square = now.clamp(max=1)
        old[t + 1 :].addcmul_(gram[t, t + 1 :], u).mul_(now.clamp(min=1).rsqrt_())
    return added.transpose(0, 1), old.transpose(0, 1), squares.squeeze(-1).t()


def _by_sweeps(gram: Tensor, start: Tensor, values: Tensor, strength: Tensor, square: Tensor) -> tuple[Tensor, ...]:
    """The same as `_by_steps` in few large operations, for devices on which many small ones are slow.

    Given c, (4) is a linear system for w_t = c_t u_t, (I + diag(γ) tril(G)) W = γ (c V - start); given W, (5) makes c
    the running maximum of ‖c_t F'_t‖. Each repetition gets at least one more step right: it ends, and exactly.
    """
    below = gram.tril(-1)
    system, diagonal = strength.unsqueeze(-1) * below, gram.diagonal(dim1=1, dim2=2)
    first = torch.ones_like(square)[:, None]
    scale = first.expand_as(strength)
    for _ in range(scale.shape[1] + 1):
        right = strength.unsqueeze(-1) * (scale.unsqueeze(-1) * values - start)
        added = torch.linalg.solve_triangular(system, right, upper=False, unitriangular=True)
        old = start + below @ added
        squares = square[:, None] + ((2 * old + added * diagonal.unsqueeze(-1)) * added).sum(-1).cumsum(1)
        after = torch.cat([first, squares], dim=1).cummax(1).values.sqrt()
        if torch.equal(after[:, :-1], scale):
            break
        scale = after[:, :-1]
    inverse = 1 / scale.unsqueeze(-1)
    return added * inverse, old * inverse, squares / scale.square()


def _write_backward(
    keys: Tensor,
    strength: Tensor,
    memory: Tensor | None,
    written: _Written,
    d: _Gradients,
    d_added: Tensor,
    d_old: Tensor,
) -> None:
    """Fill the gradients of u and o, from the last block to the first, and add those of keys and F_0 to ``d``."""
    solve = _back_by_steps if keys.device.type == "cpu" else _back_by_sweeps
    d_square, d_log = torch.zeros_like(strength[:, 0]), d.log_scale[:, -1]
    for block in reversed(_blocks(strength.shape[1], _STEPS)):
        before, so_far = slice(block.start), slice(block.stop)
        steps = torch.arange(block.start, block.stop, device=keys.device)
        decays = _decays(written.log_scale, written.log_scale[:, block], steps, keys[:, :, so_far], block.start)
        inner = _inner(keys[:, :, block], keys[:, :, so_far])
        gram = _product(inner) * decays
        u, o, squares, _ = (x[:, block] for x in written)
        outside = d.added[:, block], d.log_scale[:, block], d_square, d_log
        d_u, d_o, d_squares, d_log = solve(gram[..., block], u, o, squares, strength[:, block], *outside)
        d_added[:, block], d_old[:, block], d_square = d_u, d_o, d_squares[:, 0]
        d.added[:, before] += gram[..., before].mT @ d_o
        d_gram = (d_o @ written.added[:, so_far].mT).mul_(decays)
        d_gram[..., block].diagonal(dim1=1, dim2=2).copy_(d_squares * u.square().sum(-1))
        _inner_backward(d_gram, inner, keys[:, :, block], keys[:, :, so_far], d.keys[:, :, block], d.keys[:, :, so_far])
    if memory is not None:
        scale = (-written.log_scale[:, :-1]).exp().to(d_old.dtype).unsqueeze(-1)
        _through_backward(d_old * scale, keys, memory, d.keys, d.memory)
        if d.memory is not None:
            d.memory.addcmul_(memory, d_square[:, None, None], value=2)


def _back_by_steps(
    gram: Tensor,
    added: Tensor,
    old: Tensor,
    squares: Tensor,
    strength: Tensor,
    d_added: Tensor,
    d_log: Tensor,
    d_square: Tensor,
    d_last: Tensor,
) -> tuple[Tensor, ...]:
    """Return the gradients of u, o (row, step, value) and ‖F'‖² (row, step), and of log c before the block (row,).

    Parameters
    ----------
    gram
        (c_j / c_t) key_t·key_j within the block, (row, step, step).
    added, old, squares, strength
        u, o, ‖F'‖² and γ.
    d_added, d_log
        Gradients from outside the block of u (row, step, value) and of log c before each step (row, step).
    d_square, d_last
        Gradients of ‖F‖² and of log c after the block, (row,).
    """
    gram, strength, squares, d_log = (
        x.unsqueeze(-1).contiguous() for x in (gram.permute(1, 2, 0), strength.t(), squares.t(), d_log.t())
    )
    added, old, later = (x.transpose(0, 1).contiguous() for x in (added, old, d_added))
    d_square, d_last = d_square.unsqueeze(-1), d_last.unsqueeze(-1)
    # s is sqrt(‖F'‖²) where that is above one, and ‖F‖² is ‖F'‖² where it is not.
    to_log, to_square = (squares > 1) / (2 * squares.clamp(min=1)), (squares <= 1).to(squares)
    by_square = 2 * (old + added * gram.diagonal(dim1=0, dim2=1).permute(2, 0, 1))
    d_added, d_old, d_squares = torch.empty_like(added), torch.empty_like(added), torch.empty_like(squares)
    for t in reversed(range(len(added))):
        d_square = torch.addcmul(d_last * to_log[t], d_square, to_square[t], out=d_squares[t])
        torch.addcmul(later[t], d_square, by_square[t], out=d_added[t])
        torch.mul(added[t], 2 * d_square, out=d_old[t]).addcmul_(d_added[t], strength[t], value=-1)
        d_last = d_last + d_log[t] + (later[t] * added[t]).addcmul_(d_old[t], old[t], value=-1).sum(-1, keepdim=True)
        later[:t].addcmul_(gram[t, :t], d_old[t])
    return d_added.transpose(0, 1), d_old.transpose(0, 1), d_squares.squeeze(-1).t(), d_last.squeeze(-1)


def _back_by_sweeps(
    gram: Tensor,
    added: Tensor,
    old: Tensor,
    squares: Tensor,
    strength: Tensor,
    d_added: Tensor,
    d_log: Tensor,
    d_square: Tensor,
    d_last: Tensor,
) -> tuple[Tensor, ...]:
    """The same as `_back_by_steps` in few large operations, as `_by_sweeps` is of `_by_steps`.

    Given the gradients of ‖F'‖², those of o solve a linear system; they make those of log c, and these the first.
    """
    below, factor = gram.tril(-1), strength.unsqueeze(-1)
    by_square = 2 * (old + added * gram.diagonal(dim1=1, dim2=2).unsqueeze(-1))
    system = factor * below.mT
    above = squares > 1
    # A step that is not rescaled passes the gradient of the next one that is, or of the block's end.
    places = torch.arange(squares.shape[1], device=gram.device)
    following = places.masked_fill(~above, squares.shape[1]).flip(1).cummin(1).values.flip(1)
    d_squares = d_square[:, None].expand_as(squares)
    for _ in range(len(places) + 1):
        right = d_squares.unsqueeze(-1) * (2 * added - factor * by_square) - factor * d_added
        d_old = torch.linalg.solve_triangular(system, right, upper=True, unitriangular=True)
        later = d_added + below.mT @ d_old
        steps = d_log + (later * added - d_old * old).sum(-1)
        logs = torch.cat([steps, d_last[:, None]], dim=1).flip(1).cumsum(1).flip(1)
        found = torch.cat([logs[:, 1:] / (2 * squares), d_square[:, None]], dim=1).gather(1, following)
        if torch.equal(found, d_squares):
            break
        d_squares = found
    return later + d_squares.unsqueeze(-1) * by_square, d_old, d_squares, logs[:, 0]


def _contents(keys: Tensor, written: _Written, memory: Tensor | None) -> Tensor:
    """Return F after the last step, (row, value, key)."""
    decays = _decays_to_end(written).to(keys.dtype)
    pieces = []
    for part in _parts(keys, _EXPANDED_ROWS):
        left = (written.added[part] * decays[part, :-1]).mT
        pieces.append(left @ _expand(keys[part].unbind(1)))
    contents = torch.cat(pieces)
    return contents if memory is None else contents.addcmul_(memory, decays[:, -1:])


def _contents_backward(keys: Tensor, written: _Written, memory: Tensor | None, d_memory: Tensor, d: _Gradients) -> None:
    """Add gradients through the last contents to ``d``."""
    decays = _decays_to_end(written).to(keys.dtype)
    for part in _parts(keys, _EXPANDED_ROWS):
        factors, now = keys[part], decays[part, :-1]
        d_added = (_expand(factors.unbind(1)) @ d_memory[part].mT).mul_(now)
        d.added[part] += d_added
        d.log_scale[part, -1] -= (d_added * written.added[part]).sum((1, 2))
        _through_backward(written.added[part] * now, factors, d_memory[part], d.keys[part], None)
    if memory is not None:
        d.log_scale[:, -1] -= (d_memory * memory).sum((1, 2)) * decays[:, -1, 0]
        if d.memory is not None:
            d.memory.addcmul_(d_memory, decays[:, -1:])


def _decays_to_end(written: _Written) -> Tensor:
    """c_t over the last c, for each step and, at the end, for F_0: c is 1 at the start, (row, time + 1, 1)."""
    logs = written.log_scale
    return (torch.cat([logs[:, :-1], logs[:, :1]], dim=1) - logs[:, -1:]).exp_().unsqueeze(-1)


# Reading: equations (6) and (3)


class _Place(NamedTuple):
    """What the reads of some rows refer to: keys, what was written, F_0, and the step of each query (row, query)."""

    keys: Tensor
    written: _Written
    memory: Tensor | None
    after: Tensor
    every_step: bool

    @staticmethod
    def of(keys: Tensor, written: _Written, memory: Tensor | None, steps: Tensor | None) -> "_Place":
        every = torch.arange(keys.shape[2], device=keys.device).expand(len(keys), -1)
        return _Place(keys, written, memory, every if steps is None else steps, steps is None)

    def tiles(self) -> list[tuple[slice, int, Tensor]]:
        """Queries, how many steps they may refer to, and c_j / c_{t+1} for these, (row, query, step)."""
        found = []
        for tile in _blocks(self.after.shape[1], _READ_STEPS) if self.every_step else [slice(None)]:
            limit = tile.stop if self.every_step else self.keys.shape[2]
            after = self.after[:, tile]
            now = self.written.log_scale.gather(1, after + 1)
            keys = self.keys[:, :, :limit]
            found.append((tile, limit, _decays(self.written.log_scale, now, after, keys, tile.start or 0)))
        return found

    def first_scale(self) -> Tensor:
        """c_1 / c_{t+1} for each query, (row, query, 1)."""
        return (-self.written.log_scale.gather(1, self.after + 1)).exp_().to(self.keys.dtype).unsqueeze(-1)


def _blank_queries(keys: Tensor, first: Tensor, partners: Tensor) -> Tensor:
    """Queries (row, read, factor, query, key) as far as they are known: n_0 and all e_i."""
    size = partners.shape[-1]
    queries = partners.new_empty(*partners.shape[:2], keys.shape[1], partners.shape[2], keys.shape[3])
    queries[:, :, -1, :, -size:] = partners
    queries[:, 0, 0, :, :size] = first
    return queries


def _read(place: _Place, queries: Tensor, values: Tensor) -> Tensor:
    """Fill ``values`` and the queries after the first; return n_N, (row, query, value)."""
    size, tiles = values.shape[-1:], place.tiles()
    for i, value in enumerate(values.unbind(1)):
        if i > 0:
            queries[:, i, 0, :, : size[0]] = layer_norm(values[:, i - 1], size, eps=EPSILON)
        if place.memory is None:
            value.zero_()
        else:
            torch.mul(_through(queries[:, i], place.memory), place.first_scale(), out=value)
        for tile, limit, decays in tiles:
            weights = _product(_inner(queries[:, i, :, tile], place.keys[:, :, :limit])).mul_(decays)
            value[:, tile] += weights @ place.written.added[:, :limit]
    return layer_norm(values[:, -1], size, eps=EPSILON)


def _read_backward(
    place: _Place, queries: Tensor, values: Tensor, d_normal: Tensor, d_queries: Tensor, d: _Gradients
) -> Tensor:
    """Add gradients through the reads to ``d_queries`` and ``d``; return that of n_0, (row, query, value)."""
    size, tiles = values.shape[-1:], place.tiles()
    for i in reversed(range(values.shape[1])):
        _, mean, deviation = torch.native_layer_norm(values[:, i], size, None, None, EPSILON)
        norm = values[:, i], size, mean, deviation, None, None, [True, False, False]
        d_value = _norm_backward(d_normal.contiguous(), *norm)[0]
        d.log_scale.scatter_add_(1, place.after + 1, -(d_value * values[:, i]).sum(-1))
        for tile, limit, decays in tiles:
            query, keys, added = queries[:, i, :, tile], place.keys[:, :, :limit], place.written.added[:, :limit]
            inner = _inner(query, keys)
            d.added[:, :limit] += (_product(inner) * decays).mT @ d_value[:, tile]
            d_weights = (d_value[:, tile] @ added.mT).mul_(decays)
            _inner_backward(d_weights, inner, query, keys, d_queries[:, i, :, tile], d.keys[:, :, :limit])
        if place.memory is not None:
            d_base = d_value * place.first_scale()
            _through_backward(d_base, queries[:, i], place.memory, d_queries[:, i], d.memory)
        d_normal = d_queries[:, i, 0, :, : size[0]]
    return d_normal


# Keys of one or of two factors


def _expand(factors: Sequence[Tensor]) -> Tensor:
    """The tensor product of factors (…, key), flat; a single factor is the key."""
    if len(factors) == 1:
        return factors[0]
    a, r = factors
    return (a.unsqueeze(-1) * r.unsqueeze(-2)).flatten(-2)


def _through(keys: Tensor, memory: Tensor) -> Tensor:
    """What a memory (row, value, key) returns for keys (row, factor, time, key), (row, time, value)."""
    pieces = [_expand(keys[part].unbind(1)) @ memory[part].mT for part in _parts(keys, _EXPANDED_ROWS)]
    return torch.cat(pieces)


def _through_backward(d_values: Tensor, keys: Tensor, memory: Tensor, d_keys: Tensor, d_memory: Tensor | None) -> None:
    """Add the gradients of `_through` to ``d_keys`` and ``d_memory``."""
    for part in _parts(keys, _EXPANDED_ROWS):
        d_key = d_values[part] @ memory[part]
        if keys.shape[1] == 1:
            d_keys[part, 0] += d_key
        else:
            d_key = d_key.view(-1, keys.shape[3], keys.shape[3])
            # One row times one matrix for each step: torch is several times slower at columns, and at sums.
            for factor, matrix in enumerate((d_key.mT, d_key)):
                other = keys[part, 1 - factor]
                d_keys[part, factor] += (other.reshape(-1, 1, other.shape[-1]) @ matrix).view_as(other)
        if d_memory is not None:
            d_memory[part] += d_values[part].mT @ _expand(keys[part].unbind(1))


def _inner(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
    """Inner products of each factor, (row, time of x, time of y), of keys (row, factor, time, key)."""
    return tuple(a @ b.mT for a, b in zip(x.unbind(1), y.unbind(1), strict=True))


def _product(inner: tuple[Tensor, ...]) -> Tensor:
    """The inner products of whole keys. The result is new, or the only factor's."""
    return inner[0] if len(inner) == 1 else inner[0] * inner[1]


def _inner_backward(d: Tensor, inner: tuple[Tensor, ...], x: Tensor, y: Tensor, d_x: Tensor, d_y: Tensor) -> None:
    """Add the gradients of `_inner` and `_product` to ``d_x`` and ``d_y``."""
    each = (d,) if len(inner) == 1 else (d * inner[1], d * inner[0])
    for factor, d_inner in enumerate(each):
        d_x[:, factor] += d_inner @ y[:, factor]
        d_y[:, factor] += d_inner.mT @ x[:, factor]


def _decays(log_scale: Tensor, now: Tensor, after: Tensor, keys: Tensor, begin: int = 0) -> Tensor:
    """Ratios c_j / c up to each key's step j, 0 where j comes after the step, (row, query, step).

    Parameters
    ----------
    log_scale
        log c before each step, (row, time + 1).
    now
        log c that each query refers to, (row, query).
    after
        The step of each query, ([row,] query).
    keys
        The keys, for their number and type.
    begin
        A step that no query comes before.
    """
    logs = log_scale[:, None, begin : keys.shape[2]] - now.unsqueeze(-1)
    late = torch.arange(begin, keys.shape[2], device=keys.device) > after.unsqueeze(-1)
    inside = logs.to(keys.dtype).masked_fill_(late, -torch.inf).exp_()
    # Up to there and from there on: one factor for each step and one for each query.
    there = log_scale[:, begin, None]
    before = (log_scale[:, None, :begin] - there.unsqueeze(-1)).exp().to(keys.dtype)
    return torch.cat([(there - now).exp().to(keys.dtype).unsqueeze(-1) * before, inside], dim=-1)


def _times(memory: Tensor, key: Tensor) -> Tensor:
    return (memory @ key.unsqueeze(-1)).squeeze(-1)


def _blocks(count: int, size: int) -> list[slice]:
    """Slices of at most ``size`` that cover ``count``."""
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def _parts(rows: Tensor, size: int) -> list[slice]:
    """Rows that are worked on together: on a CPU as many as a core's cache holds."""
    return _blocks(len(rows), size if rows.device.type == "cpu" else len(rows))


def _at(value: Tensor | None, part: slice) -> Tensor | None:
    return None if value is None else value[part]


def _at_all(values: Fields, part: slice) -> Fields:
    return type(values)._make(_at(value, part) for value in values)
