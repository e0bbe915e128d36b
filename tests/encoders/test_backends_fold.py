from __future__ import annotations

import pytest
import torch
from torch import nn

from skxmodal.encoders._fold import fold_batch_norms
from skxmodal.encoders._packaged import build_efficientnet_lite


class Network(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, pixel_values):
        return self.inner(pixel_values).flatten(1)


def _settle(network):
    """Give batch norms statistics and weights that do something."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.weight.data, module.bias.data):
                nn.init.normal_(tensor)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return network.eval().requires_grad_(False)


def _norms(network):
    return [each for each in network.modules() if isinstance(each, nn.BatchNorm2d)]


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture
def pixels(seeded):
    return torch.randn(2, 3, 32, 32)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "densenet121"])
def test_networks_of_torchvision_give_the_same_vectors(name, pixels):
    from torchvision import models

    network = _settle(Network(models.get_model(name, weights=None)))
    n_before, expected = len(_norms(network)), network(pixel_values=pixels)
    n_folded = fold_batch_norms(network, pixels)
    assert len(_norms(network)) == n_before - n_folded
    # DenseNet has batch norms before convolutions, too, which stay.
    assert n_folded == n_before if name != "densenet121" else 0 < n_folded < n_before
    other = torch.randn(3, 3, 40, 40)
    torch.testing.assert_close(
        network(pixel_values=pixels), expected, rtol=1e-3, atol=1e-3 * expected.std()
    )
    assert network(pixel_values=other).shape == (3, expected.shape[1])


def test_efficientnet_lite(pixels):
    network = _settle(Network(build_efficientnet_lite("efficientnet-lite0")))
    n_norms = len(_norms(network))
    assert fold_batch_norms(network, pixels) == n_norms > 40


class Shared(nn.Module):
    """Its convolution's output is read by the batch norm and by the sum."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, pixel_values):
        output = self.convolution(pixel_values)
        return (self.norm(output) + output).flatten(1)


class Twice(nn.Module):
    """Its convolution is applied two times, before two batch norms."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 3, padding=1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(3), nn.BatchNorm2d(3)])

    def forward(self, pixel_values):
        for norm in self.norms:
            pixel_values = norm(self.convolution(pixel_values))
        return pixel_values.flatten(1)


@pytest.mark.parametrize("network", [Shared, Twice])
def test_what_cannot_be_folded_stays(network, pixels):
    network = _settle(network())
    expected = network(pixel_values=pixels)
    state = {name: each.clone() for name, each in network.state_dict().items()}
    assert fold_batch_norms(network, pixels) == 0
    assert torch.equal(network(pixel_values=pixels), expected)
    assert all(
        torch.equal(each, state[name]) for name, each in network.state_dict().items()
    )
