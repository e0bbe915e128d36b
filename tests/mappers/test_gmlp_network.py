"""The gated MLP's parts against formulas written in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from skxmodal.mappers._gmlp_network import (
    GatedBlock,
    GatedHead,
    SpatialGatingUnit,
    TwoHeads,
)


def arrays_of(module):
    return {name: w.detach().numpy() for name, w in module.named_parameters()}


def layer_norm(x, weight, bias):
    mean = x.mean(axis=-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5) * weight + bias


def gating_unit(x, w):
    """s(Z) = Z1 * (W norm(Z2) + b), one token and channel at a time."""
    n, n_tokens, channels = x.shape
    half = channels // 2
    normed = layer_norm(x[..., half:], w["norm.weight"], w["norm.bias"])
    result = np.empty((n, n_tokens, half))
    for i in range(n):
        for s in range(n_tokens):
            for c in range(half):
                gate = w["bias"][s] + sum(
                    w["mix"][s, t] * normed[i, t, c] for t in range(n_tokens)
                )
                result[i, s, c] = x[i, s, c] * gate
    return result


def randomise(module, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator).double())
    return module


def test_gating_unit_agrees_with_the_formula():
    unit = randomise(SpatialGatingUnit(3, 4).double())
    x = torch.randn(5, 4, 6, dtype=torch.float64)
    np.testing.assert_allclose(
        unit(x).detach().numpy(), gating_unit(x.numpy(), arrays_of(unit)), rtol=1e-12
    )


def test_gating_unit_starts_as_its_first_half():
    unit = SpatialGatingUnit(8, 4)
    x = torch.randn(5, 4, 16)
    torch.testing.assert_close(unit(x), x[..., :8], rtol=0.05, atol=0.05)


def test_gating_unit_mixes_tokens_within_a_channel_alone():
    unit = randomise(SpatialGatingUnit(3, 4).double())
    x = torch.randn(1, 4, 6, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(unit, x)[0, :, :, 0]
    # Half passed on: token s, channel c of the output sees that entry alone.
    passed = jacobian[..., :3]
    for s in range(4):
        for c in range(3):
            others = passed[s, c].clone()
            others[s, c] = 0
            assert torch.all(others == 0)
    # Half gated: every token has a say in every other.
    assert torch.all(jacobian[..., 3:].abs().sum(dim=(1, 3)) > 0)


def test_block_agrees_with_the_formula():
    from scipy.special import erf

    block = randomise(GatedBlock(3, 4, dropout=0.0).double())
    w = arrays_of(block)
    x = torch.randn(2, 4, 3, dtype=torch.float64)
    normed = layer_norm(x.numpy(), w["norm.weight"], w["norm.bias"])
    wide = normed @ w["widen.weight"].T + w["widen.bias"]
    wide = wide * 0.5 * (1 + erf(wide / np.sqrt(2)))
    gate = {n.removeprefix("gate."): a for n, a in w.items() if n.startswith("gate.")}
    inner = gating_unit(wide, gate)
    expected = x.numpy() + inner @ w["narrow.weight"].T + w["narrow.bias"]
    np.testing.assert_allclose(block(x).detach().numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize("part", ["unit", "block", "head"])
def test_gradients(part):
    torch.manual_seed(0)
    sizes = {"n_tokens": 2, "width": 3, "depth": 1, "dropout": 0.0}
    module, shape = {
        "unit": (SpatialGatingUnit(2, 3), (2, 3, 4)),
        "block": (GatedBlock(2, 3, dropout=0.0), (2, 3, 2)),
        "head": (
            GatedHead(4, 2, **sizes, input_dropout=0.0, zero_output=False),
            (3, 4),
        ),
    }[part]
    module = randomise(module.double())
    names = [name for name, _ in module.named_parameters()]
    x = torch.randn(*shape, dtype=torch.float64, requires_grad=True)

    def run(x, *weights):
        named = dict(zip(names, weights, strict=True))
        return torch.func.functional_call(module, named, (x,))

    weights = [w.detach().clone().requires_grad_() for w in module.parameters()]
    assert torch.autograd.gradcheck(run, (x, *weights))


def test_head_with_a_zero_output_is_no_correction():
    sizes = {"n_tokens": 2, "width": 3, "depth": 2, "dropout": 0.5}
    head = GatedHead(4, 5, **sizes, input_dropout=0.5, zero_output=True)
    x = torch.randn(7, 4)
    assert torch.equal(head(x), torch.zeros(7, 5))
    head(x).square().sum().backward()
    two = TwoHeads(head, None, temperature=0.2)
    assert two.logit_scale().item() == pytest.approx(5.0)
    with torch.no_grad():
        two.log_scale.fill_(50.0)
    assert two.logit_scale().item() == pytest.approx(100.0)
    two.bound_scale()
    assert two.temperature() == pytest.approx(0.01)
    two.logit_scale().backward()
    assert two.log_scale.grad.item() == pytest.approx(100.0)
