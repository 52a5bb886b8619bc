"""The resume state: a file with a checksum, read into aligned memory, and every model goes on from it to the bit."""

import ast
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import BINDING, RUN_OF
from planted.stacks import advance, content_of
from safetensors import safe_open
from safetensors.torch import load

import emt
from emt.commands import train
from emt.models import MODELS
from emt.training import chunk
from emt.training.resume import read_resume_state, restore, resume_file, resume_state

ALIGNMENT = 64
"""What torch aligns its own memory to, in bytes."""

SMALL, LARGE = (4, ""), (12, " --hidden_dim 50 --batch_size 16 --num_models 5")
"""Training steps, and flags beside those of the task."""


@pytest.fixture
def content():
    tensors = {
        "weight.a": torch.arange(7, dtype=torch.float32) / 3,
        "frozen": torch.tensor([True, False, True]),
        "steps": torch.tensor(5),
        "sums.1": torch.linspace(0, 1, 11, dtype=torch.float64),
    }
    return resume_file(tensors, {"step": 3, "numbers": [1, 2]}), tensors


def equal(found, expected):
    return found.keys() == expected.keys() and all(
        torch.equal(found[name], expected[name]) for name in expected
    )


def test_what_is_read_is_what_was_written(content, tmp_path):
    (tmp_path / "state").write_bytes(content[0])
    tensors, about = read_resume_state(tmp_path / "state")
    assert about == {"step": 3, "numbers": [1, 2]}
    assert equal(tensors, content[1])
    assert {name: (t.dtype, t.shape) for name, t in tensors.items()} == {
        name: (t.dtype, t.shape) for name, t in content[1].items()
    }


def test_what_is_read_is_aligned(content, tmp_path):
    path = tmp_path / "state"
    path.write_bytes(content[0])
    tensors, _ = read_resume_state(path)
    assert {tensor.data_ptr() % ALIGNMENT for tensor in tensors.values()} == {0}
    # Control: the file's own memory is not.
    with safe_open(path, framework="pt") as file:
        assert any(file.get_tensor(name).data_ptr() % ALIGNMENT for name in tensors)


def test_nothing_is_computed_in_memory_of_others():
    """Numpy aligns to 16 bytes, a file not at all; kernels may round otherwise there. ``torch.tensor`` copies."""
    names = ("from_numpy", "frombuffer", "as_tensor", "from_dlpack")
    found = {
        f"{path.name}:{node.lineno}"
        for path in Path(emt.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if node.value.id == "torch" and node.attr in names and path.name != "cuda_graphs.py"
    }
    assert found == set(), "use torch.tensor, which copies into memory of its own"


@pytest.fixture
def make_stacks(mini_babi):
    """Return a function that returns one that makes equal stacks of a model, on the task that it was made for."""

    def make(model, size=SMALL):
        steps, flags = size
        few = f"--num_models 2 --epochs 1 --epoch_batches {steps} --batch_size 3 --learning_rate 0.05 --keep best"
        run = RUN_OF.get(model, BINDING).format(babi=mini_babi)
        config, _ = train.parse(shlex.split(f"--experiment_name x --model_type {model} {run} {few}{flags}"))
        everyone = tuple(range(1, config.training.num_models + 1))
        return lambda numbers=everyone: chunk.build(config, numbers)

    return make


@pytest.mark.parametrize("size", [SMALL, pytest.param(LARGE, marks=pytest.mark.slow)])
@pytest.mark.parametrize("model", MODELS)
def test_every_model_resumed_at_any_step_ends_with_the_same_bytes(make_stacks, tmp_path, model, size):
    make, (steps, _), path = make_stacks(model, size), size, tmp_path / "state"
    expected = content_of(advance(make(), steps))
    whole = make()
    for step in range(steps):
        path.write_bytes(resume_file(*resume_state(whole)))
        resumed = make()
        restore(resumed, *read_resume_state(path))
        assert {tensor.data_ptr() % ALIGNMENT for tensor in held_by(resumed)} == {0}
        found = content_of(advance(resumed, steps - step))
        assert [name for name in expected if found[name] != expected[name]] == []
        advance(whole, 1)
        assert all(t.is_contiguous() and t.data_ptr() % ALIGNMENT == 0 for t in whole.state.values())
    assert content_of(whole) == expected
    assert content_of(make()) != expected, "nothing was trained"


def members_of(stack):
    """Return what a stack holds of each member, by name."""
    tensors = resume_state(stack)[0]
    assert {len(t) for t in tensors.values()} == {len(stack.numbers)}, "each has a leading axis of members"
    return [
        {name: t[position].numpy().tobytes() for name, t in tensors.items()}
        for position in range(len(stack.numbers))
    ]


@pytest.mark.parametrize("number", [np.nan, np.inf])
@pytest.mark.parametrize("model", MODELS)
def test_members_of_every_model_are_the_same_bytes_beside_one_that_diverges(make_stacks, model, number):
    """What a member computes depends on no other, so that numbers which are none change its own alone."""
    make, (steps, _) = make_stacks(model), SMALL
    for bad in range(2):
        clean, poisoned = (advance(make(), 1) for _ in range(2))
        with torch.no_grad():
            for parameter in poisoned.model.parameters():
                parameter[bad] = number
        expected, found = (members_of(advance(stack, steps - 1)) for stack in (clean, poisoned))
        assert poisoned.frozen.tolist() == [place == bad for place in range(2)]
        assert [name for name, held in expected[1 - bad].items() if found[1 - bad][name] != held] == []
        assert found[bad] != expected[bad]


def held_by(stack):
    """Return all tensors that a stack computes with."""
    slots = [slot for p in stack.model.parameters() for slot in stack.optimizer.slots(p).values()]
    constants = (*stack.model.parameters(), *stack.model.buffers(), *stack.state.values())
    shape = stack.task.shape(stack.model.seeds[0], "train", stack.step, int(stack.horizons()[0]))
    batch = stack.forward.batch([0], "train", stack.step, shape)
    return [*constants, *slots, *stack.forward.objective.tensors(batch).values()]


def test_the_state_of_another_run_is_refused(make_stacks):
    make, (steps, _) = make_stacks("rnn"), SMALL
    tensors, about = resume_state(make())
    with pytest.raises(
        ValueError, match=r"expected models among \[2\] and a step up to 4; got \[1, 2\] and 0"
    ):
        restore(make((2,)), tensors, about)
    with pytest.raises(ValueError, match=r"and a step up to 4; got .* and 5"):
        restore(make(), tensors, about | {"step": steps + 1})
    name = next(name for name in tensors if name.startswith("weight."))
    for wrong in (tensors[name][..., :1], tensors[name].double()):
        with pytest.raises(ValueError, match=rf"{name}: expected .* of torch.float32; got .* of torch.float"):
            restore(make(), tensors | {name: wrong}, about)
    with pytest.raises(KeyError, match="window"):
        restore(make(), {k: t for k, t in tensors.items() if k != "window"}, about)


def test_a_flipped_bit_is_refused_or_changes_nothing(content, tmp_path):
    path, (whole, tensors) = tmp_path / "state", content
    generator, refused, silent = np.random.default_rng(0), 0, 0
    for place in generator.integers(8, len(whole), size=200):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(generator.integers(8))
        path.write_bytes(damaged)
        try:
            assert equal(read_resume_state(path)[0], tensors)
        except ValueError:
            refused += 1
        silent += unnoticed(bytes(damaged), tensors)
    assert refused > 150
    # Control: many of these are good files to the library, with other numbers.
    assert silent > 30


def unnoticed(content, tensors):
    try:
        return not equal(load(content), tensors)
    except Exception:
        return False
