"""Drawn arguments of a recurrent op, and what it returns for them with gradients, for a fast form and its twin."""

import torch


def drawn(shapes, names, dtype=torch.float64):
    """Return a tensor with a gradient for each name, the same numbers in every type."""
    generator = torch.Generator().manual_seed(3)
    values = {
        name: 0.5 * torch.randn(shapes[name], generator=generator, dtype=torch.float64) for name in names
    }
    return {name: value.to(dtype).requires_grad_() for name, value in values.items()}


def results_and_gradients(form, inputs, use, **options):
    """Return what an op returns, by name, and the gradient of a weighted sum of the results named in ``use``."""
    result = form(**inputs, **options)
    generator = torch.Generator().manual_seed(4)
    loss = sum(
        (value * torch.randn(value.shape, generator=generator, dtype=torch.float64)).sum()
        for name, value in result._asdict().items()
        if name in use
    )
    gradients = torch.autograd.grad(loss, list(inputs.values()), allow_unused=True)
    filled = [
        torch.zeros_like(v) if g is None else g for v, g in zip(inputs.values(), gradients, strict=True)
    ]
    return {**result._asdict(), **{f"d_{name}": g for name, g in zip(inputs, filled, strict=True)}}


def woken(model):
    """Return a model whose maps that start at zero no longer are: outputs of `rwkv7` would hardly depend on states."""
    for parameter in model.parameters():
        generator = torch.Generator().manual_seed(0)
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return model
