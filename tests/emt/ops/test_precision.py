import pytest
import torch

from emt.ops import elman, fast_matmul, flush_denormals, is_member_invariant, precision, product_error


def setting():
    switch = getattr(torch.backends.mkldnn, "matmul", None)
    return getattr(switch, "fp32_precision", None)


def test_fast_products_keep_float32_and_the_setting_comes_back():
    before = setting()
    shape = (3, 40, 33, 21)
    with fast_matmul(shape) as on:
        assert product_error(shape) < precision.TOLERANCE
        assert (setting() == "bf16") is on
    assert setting() == before


def test_the_setting_comes_back_after_an_error():
    before = setting()
    with pytest.raises(RuntimeError, match="inside"), fast_matmul():
        raise RuntimeError("inside")
    assert setting() == before


def test_an_inexact_path_is_not_taken(monkeypatch):
    before = setting()
    monkeypatch.setattr(precision, "product_error", lambda shape: 4e-3)
    with fast_matmul() as on:
        assert on is False
        assert setting() == before


def test_a_torch_without_the_switch_does_nothing(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "matmul", object(), raising=False)
    with fast_matmul() as on:
        assert on is False


def test_error_of_bfloat16_products_would_be_seen(monkeypatch):
    monkeypatch.setattr(torch, "bmm", lambda a, b: (a.bfloat16() @ b.bfloat16()).float())
    assert product_error((2, 30, 20, 10)) > precision.TOLERANCE


def test_member_invariance_tells_a_stack_that_mixes_members():
    x = torch.randn(5, 3, 2, dtype=torch.float64)
    assert is_member_invariant(lambda x: [x.square(), x.sum(dim=2)], x)
    assert not is_member_invariant(lambda x: [x - x.mean(dim=0)], x)


def test_member_invariance_covers_gradients():
    members, batch, time, width, units = 3, 64, 4, 8, 32
    sizes = [
        (members, batch, time, width),
        (members, width, units),
        (members, units, units),
        (members, units, width),
    ]
    arguments = [(0.1 * torch.randn(s)).requires_grad_() for s in sizes]

    def compute(*arguments):
        run = elman(*arguments)
        return *run, *torch.autograd.grad(run.outputs.square().sum(), arguments)

    assert is_member_invariant(compute, *arguments) in (True, False)
    scale = torch.linspace(1, 2, members).reshape(-1, 1, 1, 1).requires_grad_()

    def mixing(x, *weights):
        outputs = elman(x, *weights).outputs
        return outputs, *torch.autograd.grad((outputs * scale[: len(x)] * len(x)).sum(), weights)

    assert not is_member_invariant(mixing, *arguments)


def test_plain_products_leave_onednn_aside_inside_fast_ones():
    before = setting()
    with fast_matmul() as on:
        inside = setting()
        with precision.plain_matmul():
            assert setting() != "bf16"
        assert setting() == inside
    assert on is (inside == "bf16")
    assert setting() == before


def test_plain_products_need_no_switch(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "matmul", object(), raising=False)
    with precision.plain_matmul():
        assert setting() is None


def is_flushed():
    return (torch.tensor(1e-39) * 1.0).item() == 0


def test_denormals_are_zero_inside_and_numbers_again_afterwards():
    if not torch.set_flush_denormal(False):
        pytest.skip("this processor cannot")
    assert not is_flushed()
    with flush_denormals():
        assert is_flushed()
        with flush_denormals():
            pass
        assert is_flushed()
        # The smallest number of full precision stays.
        assert torch.tensor(1.2e-38) * 1.0 > 0
    assert not is_flushed()
    with pytest.raises(RuntimeError, match="inside"), flush_denormals():
        raise RuntimeError("inside")
    assert not is_flushed()
