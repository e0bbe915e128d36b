"""Layers of torchvision's networks as encoders."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone

from skxmodal.encoders import TorchvisionEncoder


def encoder(model="resnet18", **parameters) -> TorchvisionEncoder:
    defaults = {"weights": None, "random_state": 0}
    return TorchvisionEncoder(model, cache=False, **{**defaults, **parameters})


def network_of(model: str, seed: int = 0, **options):
    import torch
    import torchvision

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return torchvision.models.get_model(model, weights=None, **options).eval()


def answer(network, head: str, pictures) -> np.ndarray:
    """What a network's last layer reads, caught by a hook, as unit rows."""
    import torch
    import torchvision

    weights = torchvision.models.ResNet18_Weights.DEFAULT
    caught = []
    layer = network.get_submodule(head)
    handle = layer.register_forward_pre_hook(lambda _, given: caught.append(given[0]))
    with torch.inference_mode():
        network(
            torch.stack([weights.transforms()(Image.fromarray(p)) for p in pictures])
        )
    handle.remove()
    vectors = caught[0].numpy().astype(np.float64)
    if vectors.ndim == 4:
        vectors = vectors.mean(axis=(2, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("model", "head", "dimension"),
    [
        ("resnet18", "fc", 512),
        ("mobilenet_v3_small", "classifier.3", 1024),
        ("squeezenet1_1", "classifier.1", 512),
        ("shufflenet_v2_x0_5", "fc", 1024),
    ],
)
def test_the_penultimate_layer(model, head, dimension, pictures):
    vectors = encoder(model).transform(pictures[:3])
    assert vectors.shape == (3, dimension)
    expected = answer(network_of(model), head, pictures[:3])
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "node"),
    [
        ("vgg11", "classifier.5"),
        ("densenet121", "flatten"),
        ("vit_b_32", "getitem_5"),
        ("efficientnet_b0", "classifier.0"),
        ("swin_t", "flatten"),
    ],
)
def test_the_penultimate_layer_of_large_networks_is_found(model, node):
    import torch
    import torchvision

    from skxmodal.encoders._torchvision_model import find_penultimate

    with torch.device("meta"):
        network = torchvision.models.get_model(model, weights=None).eval()
    assert find_penultimate(network) == node


def test_a_node_by_name(pictures):
    assert encoder(layer="layer3.1.relu_1").transform(pictures).shape == (6, 256)
    assert encoder(layer="fc").transform(pictures).shape == (6, 1000)
    with pytest.raises(ValueError, match=r"layer='nowhere'.*'penultimate' or.*layer1"):
        encoder(layer="nowhere").transform(pictures)


def test_tokens_and_maps_are_averaged():
    import torch

    from skxmodal.encoders._networks import NodeNetwork

    rng = np.random.default_rng(0)
    values = torch.from_numpy(rng.normal(size=(2, 3, 4, 5)))

    def gives(activations):
        return NodeNetwork(lambda pixel_values: {"node": activations})(None).numpy()

    np.testing.assert_allclose(gives(values), values.mean(dim=(2, 3)))
    np.testing.assert_allclose(gives(values[0]), values[0].mean(dim=1))
    np.testing.assert_array_equal(gives(values[0, 0]), values[0, 0])


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("n_classes", [1000, 7])
def test_weights_of_a_file(tmp_path, pictures, suffix, n_classes):
    import torch
    from safetensors.torch import save_file

    network = network_of("resnet18", seed=3, num_classes=n_classes)
    path = tmp_path / f"weights{suffix}"
    save = save_file if suffix == ".safetensors" else torch.save
    save(network.state_dict(), path)
    expected = answer(network, "fc", pictures)
    for given in (path, str(path)):
        own = encoder(weights=given, random_state=None)
        np.testing.assert_allclose(own.transform(pictures), expected, atol=1e-5)


def test_published_weights_come_from_torchs_own_cache(pictures):
    import torch
    from torchvision.models import ResNet18_Weights

    with pytest.raises(OSError, match=r"can't be downloaded from https://.*weights='F"):
        # A name of the weights that is not in the cache and can't be had here.
        encoder("shufflenet_v2_x1_0", weights="DEFAULT").transform(pictures)
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / ResNet18_Weights.DEFAULT.url.rpartition("/")[2]
    network = network_of("resnet18", seed=5)
    torch.save(network.state_dict(), file)
    expected = answer(network, "fc", pictures)
    for name in ("DEFAULT", "IMAGENET1K_V1"):
        own = encoder(weights=name, random_state=None)
        np.testing.assert_allclose(own.transform(pictures), expected, atol=1e-5)
    file.unlink()


class Evil:
    def __reduce__(self):
        return (print, ("this pickle ran",))


def test_files_that_are_no_weights_of_the_network(tmp_path, pictures, capsys):
    import torch

    (tmp_path / "text.pth").write_text("no weights")
    (tmp_path / "broken.safetensors").write_bytes(b"\x10" + b"\0" * 30)
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Evil()))
    torch.save({"state": Evil()}, tmp_path / "evil_too.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"epoch": 3}, tmp_path / "numbers.pth")
    for name in ("text.pth", "broken.safetensors", "evil.pth", "evil_too.pth"):
        with pytest.raises(OSError, match=f"{name}' can't be read as weights"):
            encoder(weights=tmp_path / name).transform(pictures)
    for name in ("list.pth", "numbers.pth"):
        with pytest.raises(OSError, match=r"holds no state dict.*torch\.save"):
            encoder(weights=tmp_path / name).transform(pictures)
    assert "this pickle ran" not in capsys.readouterr().out
    torch.save(network_of("shufflenet_v2_x0_5").state_dict(), tmp_path / "other.pth")
    with pytest.raises(OSError, match=r"other\.pth' don't fit the network ResNet"):
        encoder(weights=tmp_path / "other.pth").transform(pictures)


def test_bad_parameters(pictures, tmp_path):
    with pytest.raises(ValueError, match=r"model='resnet19' is no network.*resnet18"):
        encoder("resnet19").transform(pictures)
    with pytest.raises(ValueError, match=r"weights=None.*random_state=0"):
        encoder(random_state=None).transform(pictures)
    with pytest.raises(FileNotFoundError, match="neither a file nor a name of publ"):
        encoder(weights="IMAGENET9").transform(pictures)
    with pytest.raises(FileNotFoundError, match="neither a file nor a name of publ"):
        encoder(weights=tmp_path / "none.pth").transform(pictures)


def test_random_weights_are_the_seeds_and_leave_the_generator_alone(pictures):
    import torch

    torch.manual_seed(42)
    before = torch.get_rng_state()
    first = encoder("squeezenet1_1", random_state=1).transform(pictures)
    assert torch.equal(torch.get_rng_state(), before)
    again = encoder("squeezenet1_1", random_state=1).transform(pictures)
    other = encoder("squeezenet1_1", random_state=2).transform(pictures)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


def test_fingerprints_tell_apart_what_changes_a_vector(tmp_path):
    import torch

    torch.save(network_of("resnet18").state_dict(), tmp_path / "a.pth")
    prints = [
        json.dumps(each.fingerprint())
        for each in [
            encoder(),
            encoder(random_state=1),
            encoder(layer="fc"),
            encoder("resnet34"),
            encoder(weights="DEFAULT"),
            encoder(weights=tmp_path / "a.pth"),
            encoder(dtype="bfloat16"),
        ]
    ]
    assert len(set(prints)) == len(prints)
    assert encoder(batch_size=3, on_error="nan").fingerprint() == json.loads(prints[0])


def test_pickles_and_clones_hold_parameters_only(pictures):
    own = encoder("squeezenet1_1")
    vectors = own.transform(pictures)
    assert len(pickle.dumps(own)) < 2000
    for copy in (clone(own), pickle.loads(pickle.dumps(own))):
        np.testing.assert_array_equal(copy.transform(pictures), vectors)


def test_on_error_nan(tmp_path, pictures):
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    own = encoder("squeezenet1_1", on_error="nan")
    with pytest.warns(UserWarning, match=r"1 of 2 pictures.*row 1: .*bad\.jpg"):
        vectors = own.transform([pictures[0], tmp_path / "bad.jpg"])
    assert np.isfinite(vectors[0]).all()
    assert np.isnan(vectors[1]).all()
