"""Stacks of members in training: some steps on, and all that a resume would restore."""

from emt.training.resume import resume_state


def advance(stack, steps):
    """Train so many steps and return the stack."""
    for _ in range(steps):
        report = stack.gradients()
        stack.optimizer.step()
        stack.advance(report)
    return stack


def content_of(stack):
    """Return the bytes of each tensor of the resume state, by name."""
    return {name: tensor.numpy().tobytes() for name, tensor in resume_state(stack)[0].items()}
