"""Writing of a Fast Weight Memory: equations (4) and (5) of `emt.ops.fwm.forms`, and their gradients."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from emt.ops.factored_keys import (
    blocks,
    expand,
    expandable,
    inner_products,
    inner_products_backward,
    through,
    through_backward,
    whole_products,
)

_STEPS = 20
"""Steps that are worked on together in (4). """


class Written(NamedTuple):
    """What (4) and (5) found: u and o (row, time, value), ‖F'‖² (row, time), log c in float64 (row, time + 1)."""

    added: Tensor
    old: Tensor
    squares: Tensor
    log_scale: Tensor


class Gradients(NamedTuple):
    """Gradients so far of keys, of u and log c, and of F_0 (None where nobody asked)."""

    keys: Tensor
    added: Tensor
    log_scale: Tensor
    memory: Tensor | None


class _Steps(NamedTuple):
    """What (4) and (5) find in the steps of a block: u and o (row, step, value), ‖F'‖² (row, step)."""

    added: Tensor
    old: Tensor
    squares: Tensor


class _Block(NamedTuple):
    """What the gradients of a block are computed from.

    Attributes
    ----------
    gram
        (c_j / c_t) key_t·key_j within the block, (row, step, step).
    found
        u, o and ‖F'‖².
    strength
        γ, (row, step).
    d_added, d_log
        Gradients from outside the block of u (row, step, value) and of log c before each step (row, step).
    d_square, d_last
        Gradients of ‖F‖² and of log c after the block, (row,).
    """

    gram: Tensor
    found: _Steps
    strength: Tensor
    d_added: Tensor
    d_log: Tensor
    d_square: Tensor
    d_last: Tensor


class _BlockGradients(NamedTuple):
    """Gradients of u, o (row, step, value) and ‖F'‖² (row, step) of a block, and of log c before it (row,)."""

    added: Tensor
    old: Tensor
    squares: Tensor
    log_scale: Tensor


def write(keys: Tensor, values: Tensor, strength: Tensor, memory: Tensor | None, written: Written) -> None:
    """Fill ``written``: in a block of steps in time order, from before it by one product."""
    solve = _by_steps if keys.device.type == "cpu" else _by_sweeps
    # What was written before the block, and F_0 key_t, both as they count when it begins.
    held = torch.zeros_like(values)
    base = None if memory is None else through(keys, memory)
    square = values.new_zeros(len(values)) if memory is None else memory.square().sum((1, 2))
    for block in blocks(values.shape[1], _STEPS):
        gram = whole_products(inner_products(keys[:, :, block], keys[:, :, : block.stop]))
        start = gram[..., : block.start] @ held[:, : block.start]
        if base is not None:
            start += base[:, block]
        found = solve(gram[..., block.start :], start, values[:, block], strength[:, block], square)
        for whole, piece in zip(written, found, strict=False):
            whole[:, block] = piece
        square = found.squares[:, -1].clamp(max=1)
        grown = found.squares.clamp(min=1).double().log_().mul_(0.5).cumsum_(1)
        written.log_scale[:, block.start + 1 : block.stop + 1] = (
            grown + written.log_scale[:, block.start, None]
        )
        decays = (pad(grown, (1, 0)) - grown[:, -1:]).exp_().to(values.dtype).unsqueeze(-1)
        held[:, : block.start] *= decays[:, :1]
        torch.mul(found.added, decays[:, :-1], out=held[:, block])
        if base is not None:
            base *= decays[:, :1]


def _by_steps(gram: Tensor, start: Tensor, values: Tensor, strength: Tensor, square: Tensor) -> _Steps:
    """Solve (4) and (5) in the steps of a block.

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
    return _Steps(added.transpose(0, 1), old.transpose(0, 1), squares.squeeze(-1).t())


def _by_sweeps(gram: Tensor, start: Tensor, values: Tensor, strength: Tensor, square: Tensor) -> _Steps:
    """The same as `_by_steps` in few large operations, for devices on which many small ones are slow.

    Given c, (4) is a linear system for w_t = c_t u_t, (I + diag(γ) tril(G)) W = γ (c V - start); given W, (5)
    makes c the running maximum of ‖c_t F'_t‖. Each repetition gets at least one more step right: it ends, and
    exactly.
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
    return _Steps(added * inverse, old * inverse, squares / scale.square())


def write_backward(
    keys: Tensor,
    strength: Tensor,
    memory: Tensor | None,
    written: Written,
    d: Gradients,
    d_added: Tensor,
    d_old: Tensor,
) -> None:
    """Fill the gradients of u and o, from the last block to the first, and add those of keys and F_0 to ``d``."""
    solve = _back_by_steps if keys.device.type == "cpu" else _back_by_sweeps
    d_square, d_log = torch.zeros_like(strength[:, 0]), d.log_scale[:, -1]
    for block in reversed(blocks(strength.shape[1], _STEPS)):
        before, so_far = slice(block.start), slice(block.stop)
        steps = torch.arange(block.start, block.stop, device=keys.device)
        decays = decay_ratios(
            written.log_scale, written.log_scale[:, block], steps, keys[:, :, so_far], block.start
        )
        inner = inner_products(keys[:, :, block], keys[:, :, so_far])
        gram = whole_products(inner) * decays
        found = _Steps(written.added[:, block], written.old[:, block], written.squares[:, block])
        outside = d.added[:, block], d.log_scale[:, block], d_square, d_log
        back = solve(_Block(gram[..., block], found, strength[:, block], *outside))
        d_added[:, block], d_old[:, block] = back.added, back.old
        d_square, d_log = back.squares[:, 0], back.log_scale
        d.added[:, before] += gram[..., before].mT @ back.old
        d_gram = (back.old @ written.added[:, so_far].mT).mul_(decays)
        d_gram[..., block].diagonal(dim1=1, dim2=2).copy_(back.squares * found.added.square().sum(-1))
        inner_products_backward(
            d_gram, inner, keys[:, :, block], keys[:, :, so_far], d.keys[:, :, block], d.keys[:, :, so_far]
        )
    if memory is not None:
        scale = (-written.log_scale[:, :-1]).exp().to(d_old.dtype).unsqueeze(-1)
        through_backward(d_old * scale, keys, memory, d.keys, d.memory)
        if d.memory is not None:
            d.memory.addcmul_(memory, d_square[:, None, None], value=2)


def _back_by_steps(block: _Block) -> _BlockGradients:
    """Go back through the steps of a block."""
    found = block.found
    scalars = block.gram.permute(1, 2, 0), block.strength.t(), found.squares.t(), block.d_log.t()
    gram, strength, squares, d_log = (x.unsqueeze(-1).contiguous() for x in scalars)
    added, old, later = (x.transpose(0, 1).contiguous() for x in (found.added, found.old, block.d_added))
    d_square, d_last = block.d_square.unsqueeze(-1), block.d_last.unsqueeze(-1)
    # s is sqrt(‖F'‖²) where that is above one, and ‖F‖² is ‖F'‖² where it is not.
    to_log, to_square = (squares > 1) / (2 * squares.clamp(min=1)), (squares <= 1).to(squares)
    by_square = 2 * (old + added * gram.diagonal(dim1=0, dim2=1).permute(2, 0, 1))
    d_added, d_old, d_squares = torch.empty_like(added), torch.empty_like(added), torch.empty_like(squares)
    for t in reversed(range(len(added))):
        d_square = torch.addcmul(d_last * to_log[t], d_square, to_square[t], out=d_squares[t])
        torch.addcmul(later[t], d_square, by_square[t], out=d_added[t])
        torch.mul(added[t], 2 * d_square, out=d_old[t]).addcmul_(d_added[t], strength[t], value=-1)
        d_last = (
            d_last
            + d_log[t]
            + (later[t] * added[t]).addcmul_(d_old[t], old[t], value=-1).sum(-1, keepdim=True)
        )
        later[:t].addcmul_(gram[t, :t], d_old[t])
    steps = d_added.transpose(0, 1), d_old.transpose(0, 1), d_squares.squeeze(-1).t()
    return _BlockGradients(*steps, d_last.squeeze(-1))


def _back_by_sweeps(block: _Block) -> _BlockGradients:
    """The same as `_back_by_steps` in few large operations, as `_by_sweeps` is of `_by_steps`.

    Given the gradients of ‖F'‖², those of o solve a linear system; they make those of log c, and these the
    first.
    """
    gram, (added, old, squares), strength, d_added, d_log, d_square, d_last = block
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
    return _BlockGradients(later + d_squares.unsqueeze(-1) * by_square, d_old, d_squares, logs[:, 0])


def last_contents(keys: Tensor, written: Written, memory: Tensor | None) -> Tensor:
    """Return F after the last step, (row, value, key)."""
    decays = _decays_to_end(written).to(keys.dtype)
    pieces = []
    for part in expandable(keys):
        left = (written.added[part] * decays[part, :-1]).mT
        pieces.append(left @ expand(keys[part].unbind(1)))
    contents = torch.cat(pieces)
    return contents if memory is None else contents.addcmul_(memory, decays[:, -1:])


def last_contents_backward(
    keys: Tensor, written: Written, memory: Tensor | None, d_memory: Tensor, d: Gradients
) -> None:
    """Add gradients through the last contents to ``d``."""
    decays = _decays_to_end(written).to(keys.dtype)
    for part in expandable(keys):
        factors, now = keys[part], decays[part, :-1]
        d_added = (expand(factors.unbind(1)) @ d_memory[part].mT).mul_(now)
        d.added[part] += d_added
        d.log_scale[part, -1] -= (d_added * written.added[part]).sum((1, 2))
        through_backward(written.added[part] * now, factors, d_memory[part], d.keys[part], None)
    if memory is not None:
        d.log_scale[:, -1] -= (d_memory * memory).sum((1, 2)) * decays[:, -1, 0]
        if d.memory is not None:
            d.memory.addcmul_(d_memory, decays[:, -1:])


def _decays_to_end(written: Written) -> Tensor:
    """c_t over the last c, for each step and, at the end, for F_0: c is 1 at the start, (row, time + 1, 1)."""
    logs = written.log_scale
    return (torch.cat([logs[:, :-1], logs[:, :1]], dim=1) - logs[:, -1:]).exp_().unsqueeze(-1)


def decay_ratios(log_scale: Tensor, now: Tensor, after: Tensor, keys: Tensor, begin: int = 0) -> Tensor:
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
    inside = logs.to(keys.dtype).exp_().masked_fill_(late, 0)
    # Up to there and from there on: one factor for each step and one for each query.
    there = log_scale[:, begin, None]
    before = (log_scale[:, None, :begin] - there.unsqueeze(-1)).exp().to(keys.dtype)
    return torch.cat([(there - now).exp().to(keys.dtype).unsqueeze(-1) * before, inside], dim=-1)
