"""Contrastive tuning: what is trained, what is kept, what it reads and writes."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import get_tags

from skxmodal import CrossModalRetriever, ProcrustesMapper
from skxmodal._training import Training
from skxmodal.encoders import (
    ContrastiveTuner,
    ImageEncoder,
    TextEncoder,
    TorchvisionEncoder,
)
from skxmodal.encoders import _contrastive_training as training_module
from skxmodal.encoders import _contrastive_views as views_module
from skxmodal.encoders._contrastive_layers import (
    choose,
    find_layers,
    frozen_start,
    trained_weights,
    training_mode,
)
from skxmodal.encoders._contrastive_tuned import with_weights
from skxmodal.persistence import load, save

SUBJECTS = ("dog", "cat", "car", "bird", "man", "house")
CAPTIONS = [
    text
    for subject in SUBJECTS
    for text in (f"a {subject}", f"the red {subject} sits", f"small {subject} on grass")
]
GROUPS = np.repeat(np.arange(len(SUBJECTS)), 3)
TARGETS = np.random.default_rng(0).normal(size=(len(SUBJECTS), 10))[GROUPS]
QUICK = {
    "max_epochs": 3,
    "batch_size": 9,
    "learning_rate": 1e-2,
    "temperature": 0.5,
    "random_state": 0,
}


@pytest.fixture
def bert(tiny_bert):
    return TextEncoder(tiny_bert, cache=False)


@pytest.fixture
def ctrl_c():
    """Presses Ctrl-C, which a shell makes its background jobs ignore."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: os.kill(os.getpid(), signal.SIGINT)
    signal.signal(signal.SIGINT, previous)


def gap(vectors):
    """Mean cosine inside groups less that between groups."""
    cosine = vectors @ vectors.T
    same = GROUPS[:, None] == GROUPS
    np.fill_diagonal(cosine, np.nan)
    return np.nanmean(cosine[same]) - np.nanmean(cosine[~same])


@pytest.mark.parametrize(
    ("trainable", "n_reused"),
    [("all", 0), ("last:1", 1), ("last:2", 0), ("head", 2), ("adapters", 0)],
)
def test_captions_of_one_picture_move_together(bert, trainable, n_reused):
    tuner = ContrastiveTuner(bert, objective="captions", trainable=trainable, **QUICK)
    tuner.set_params(max_epochs=15).fit(CAPTIONS, groups=GROUPS)
    assert gap(tuner.transform(CAPTIONS)) > gap(bert.transform(CAPTIONS)) + 0.03
    losses = tuner.history_["train_loss"]
    assert losses[-1] < losses[1]
    assert tuner.n_reused_blocks_ == n_reused
    assert tuner.history_["epoch"].tolist() == list(range(16))


@pytest.mark.parametrize("trainable", ["all", "last:1", "adapters"])
@pytest.mark.parametrize("objective", ["unsupervised", "paired"])
def test_other_objectives_lower_their_loss(bert, objective, trainable):
    tuner = ContrastiveTuner(bert, objective=objective, trainable=trainable, **QUICK)
    losses = (
        tuner.set_params(max_epochs=15).fit(CAPTIONS, TARGETS).history_["train_loss"]
    )
    assert losses[-3:].mean() < losses[1]
    assert not np.allclose(tuner.transform(CAPTIONS), bert.transform(CAPTIONS))


@pytest.mark.parametrize("trainable", ["last:1", "head"])
@pytest.mark.parametrize("objective", ["unsupervised", "paired"])
@pytest.mark.parametrize("network", ["tiny_vit", "tiny_clip", "tiny_resnet", "lite"])
def test_pictures(request, pictures, network, objective, trainable):
    model = "efficientnet-lite0"
    if network != "lite":
        model = request.getfixturevalue(network)
    encoder = ImageEncoder(model, cache=False)
    settings = {**QUICK, "max_epochs": 1, "trainable": trainable}
    tuner = ContrastiveTuner(encoder, objective=objective, **settings)
    if (network, trainable) == ("tiny_resnet", "head"):
        with pytest.raises(ValueError, match="has nothing there"):
            tuner.fit(pictures, TARGETS[::3])
        return
    tuner.fit(pictures, TARGETS[::3])
    # An augmented picture is another each time, so nothing can be kept.
    assert (tuner.n_reused_blocks_ > 0) == (
        objective == "paired"
        and (trainable == "head" or network in ("lite", "tiny_resnet"))
    )
    assert not np.allclose(tuner.transform(pictures), encoder.transform(pictures))


@pytest.mark.parametrize("model", ["resnet18", "mobilenet_v3_small"])
def test_torchvision(tmp_path, pictures, model):
    encoder = TorchvisionEncoder(model, weights=None, random_state=0, cache=False)
    settings = {**QUICK, "max_epochs": 1, "objective": "paired"}
    tuner = ContrastiveTuner(encoder, **settings).fit(pictures[:3], TARGETS[::3][:3])
    assert tuner.n_reused_blocks_ > 0
    vectors = tuner.transform(pictures)
    assert not np.allclose(vectors, encoder.transform(pictures))
    file = tuner.save(tmp_path / "tuned") / "model.safetensors"
    read = TorchvisionEncoder(model, weights=file, cache=False)
    np.testing.assert_allclose(read.transform(pictures), vectors, atol=1e-6)
    # And tuned again, from there.
    again = ContrastiveTuner(read, **settings).fit(pictures[:3], TARGETS[::3][:3])
    file = again.save(tmp_path / "again") / "model.safetensors"
    read = TorchvisionEncoder(model, weights=file, cache=False)
    vectors = again.transform(pictures)
    np.testing.assert_allclose(read.transform(pictures), vectors, atol=1e-6)


def test_only_the_chosen_weights_are_trained(bert):
    names = {
        trainable: set(
            ContrastiveTuner(bert, objective="captions", trainable=trainable, **QUICK)
            .fit(CAPTIONS, groups=GROUPS)
            .encoder_.tuned_weights_
        )
        for trainable in ("last:1", "last:2", "all", "head", "adapters")
    }
    last = {name for name in names["last:2"] if ".layer.1." in name}
    assert names["last:1"] == last
    assert names["last:1"] < names["last:2"] < names["all"]
    assert any("embeddings" in name for name in names["all"])
    assert names["head"] == {"added.weight"}
    assert all(name.endswith("weight") for name in names["adapters"])
    assert not any("lora" in name for name in names["adapters"])


def test_frozen_blocks_run_once_for_each_item(bert, monkeypatch):
    from transformers.models.bert.modeling_bert import BertLayer

    runs = []
    forward = BertLayer.forward

    def counted(layer, *given, **named):
        runs.append(layer)
        return forward(layer, *given, **named)

    monkeypatch.setattr(BertLayer, "forward", counted)
    tuner = ContrastiveTuner(bert, objective="captions", **QUICK).set_params(
        max_epochs=4
    )
    tuner.fit(CAPTIONS, groups=GROUPS)
    by_layer = sorted(runs.count(layer) for layer in set(runs))
    # Once to learn the dimension, once to find the layers, once to keep the output;
    # the trained layer also once to check that it goes on the same, and for 4 epochs
    # of 2 batches.
    assert by_layer == [3, 3 + 1 + 4 * 2]


@pytest.mark.parametrize("objective", ["captions", "paired", "unsupervised"])
def test_reuse_changes_nothing(bert, monkeypatch, objective):
    def weights():
        tuner = ContrastiveTuner(bert, objective=objective, **QUICK)
        tuner.fit(CAPTIONS, TARGETS, groups=GROUPS)
        return tuner.encoder_.tuned_weights_, tuner.n_reused_blocks_

    reused, n_reused = weights()
    monkeypatch.setattr(views_module, "frozen_start", lambda *given: None)
    whole, n_whole = weights()
    assert (n_reused, n_whole) == (1, 0)
    for name, weight in whole.items():
        np.testing.assert_allclose(reused[name], weight, rtol=1e-3, atol=1e-4)


def test_reuse_from_a_file(bert, monkeypatch):
    settings = {**QUICK, "objective": "captions"}
    in_memory = ContrastiveTuner(bert, **settings).fit(CAPTIONS, groups=GROUPS)
    monkeypatch.setattr(views_module, "LARGEST_IN_MEMORY", 0)
    in_a_file = ContrastiveTuner(bert, **settings).fit(CAPTIONS, groups=GROUPS)
    np.testing.assert_array_equal(
        in_memory.transform(CAPTIONS), in_a_file.transform(CAPTIONS)
    )


def test_network_that_does_not_go_on_is_run_whole(bert, monkeypatch):
    monkeypatch.setattr(views_module, "TOLERANCE", -1.0)
    tuner = ContrastiveTuner(bert, objective="captions", **QUICK)
    assert tuner.fit(CAPTIONS, groups=GROUPS).n_reused_blocks_ == 0


def test_frozen_layers_are_not_random_in_training(bert):
    model = bert._load()
    tensors = {
        name: torch.from_numpy(values)
        for name, values in model.collate(model.tokenise(CAPTIONS)[0]).items()
    }
    layers = find_layers(model.network, lambda: model.network(**tensors), "last:1")
    choose(model.network, layers, "last:1")
    training_mode(model.network)
    start = frozen_start(model.network, layers, 1)
    first, one = start.record(lambda: model.network(**tensors))
    second, two = start.record(lambda: model.network(**tensors))
    assert torch.equal(first, second)
    assert not torch.equal(one, two)


def test_batch_norms_keep_their_statistics(pictures):
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.Dropout(0.5)
    )
    training_mode(network)
    assert network[0].training
    assert not network[1].training
    assert network[2].training


@pytest.mark.parametrize(
    "settings",
    [
        {"bias": "all"},
        {"bias": "lora_only"},
        {"use_dora": True},
        {"modules_to_save": ["dense"]},
        {"lora_bias": True, "bias": "none"},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_adapters_that_cannot_be_merged_are_refused(bert, monkeypatch, settings):
    from peft import LoraConfig

    monkeypatch.setattr(Training, "run", None)
    config = LoraConfig(r=2, target_modules=["query", "value"], **settings)
    tuner = ContrastiveTuner(bert, objective="captions", trainable=config, **QUICK)
    with pytest.raises(ValueError, match="this LoraConfig trains more than that"):
        tuner.fit(CAPTIONS, groups=GROUPS)


def test_other_configurations_of_peft_are_refused(bert):
    from peft import IA3Config

    config = IA3Config(target_modules=["query"], feedforward_modules=[])
    tuner = ContrastiveTuner(bert, objective="captions", trainable=config, **QUICK)
    with pytest.raises(ValueError, match="or a LoraConfig of peft"):
        tuner.fit(CAPTIONS, groups=GROUPS)


def test_encoder_with_merged_adapters_is_the_network_trained(bert, monkeypatch):
    from peft import LoraConfig

    seen = []
    run = Training.run

    def noted(training):
        run(training)
        network = training.module.network
        model = bert._load()
        arrays = model.collate(model.tokenise(CAPTIONS)[0])
        tensors = {name: torch.from_numpy(values) for name, values in arrays.items()}
        with torch.no_grad():
            seen.append(torch.nn.functional.normalize(network(**tensors)).numpy())

    monkeypatch.setattr(Training, "run", noted)
    config = LoraConfig(
        r=2, target_modules=["query", "word_embeddings"], use_rslora=True
    )
    tuner = ContrastiveTuner(bert, objective="captions", trainable=config, **QUICK)
    vectors = tuner.fit(CAPTIONS, groups=GROUPS).transform(CAPTIONS)
    assert not np.allclose(vectors, bert.transform(CAPTIONS), atol=1e-3)
    np.testing.assert_allclose(vectors, seen[0], atol=1e-5)
    assert tuner.n_reused_blocks_ == 0


def test_frozen_blocks_before_adapters_run_once(bert):
    from peft import LoraConfig

    config = LoraConfig(r=2, target_modules=["query"], layers_to_transform=[1])
    tuner = ContrastiveTuner(bert, objective="captions", trainable=config, **QUICK)
    assert tuner.fit(CAPTIONS, groups=GROUPS).n_reused_blocks_ == 1
    assert list(tuner.encoder_.tuned_weights_) == [
        "transformer.encoder.layer.1.attention.self.query.weight"
    ]


def test_merged_adapters_do_what_adapters_did(bert):
    model = bert._load()
    tensors = {
        name: torch.from_numpy(values)
        for name, values in model.collate(model.tokenise(CAPTIONS)[0]).items()
    }
    layers = find_layers(model.network, lambda: model.network(**tensors), "adapters")
    assert choose(model.network, layers, "adapters") == 0
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in model.network.named_parameters():
            if "lora_B" in name:
                weight.normal_()
        adapted = torch.nn.functional.normalize(model.network.eval()(**tensors))
    weights = {
        name: weight.numpy() for name, weight in trained_weights(model.network).items()
    }
    merged = with_weights(bert, weights).transform(CAPTIONS)
    assert not np.allclose(merged, bert.transform(CAPTIONS), atol=1e-2)
    np.testing.assert_allclose(merged, adapted.numpy(), atol=1e-5)


def test_adapters_of_ones_own(bert):
    from peft import LoraConfig

    config = LoraConfig(r=2, target_modules=["query", "value"])
    tuner = ContrastiveTuner(bert, objective="captions", trainable=config, **QUICK)
    tuner.fit(CAPTIONS, groups=GROUPS)
    names = set(tuner.encoder_.tuned_weights_)
    assert len(names) == 4
    assert all(name.endswith(("query.weight", "value.weight")) for name in names)


@pytest.mark.parametrize("trainable", ["last:1", "all", "head", "adapters"])
@pytest.mark.parametrize(
    "settings",
    [{}, {"pooling": "cls", "max_length": 12, "prompt": "hello "}],
    ids=["plain", "set"],
)
def test_saved_bert_is_read_like_any_checkpoint(
    tmp_path, tiny_bert, settings, trainable
):
    encoder = TextEncoder(tiny_bert, cache=False, **settings)
    tuner = ContrastiveTuner(encoder, objective="paired", trainable=trainable, **QUICK)
    tuner.fit(CAPTIONS, TARGETS)
    folder = tuner.save(tmp_path / "tuned")
    assert list(folder.glob("*.safetensors"))
    assert not list(folder.rglob("*.bin"))
    vectors = tuner.transform(CAPTIONS)
    read = TextEncoder(folder, cache=False)
    np.testing.assert_allclose(read.transform(CAPTIONS), vectors, atol=1e-6)
    with pytest.raises(FileExistsError, match="holds files already"):
        tuner.save(folder)


@pytest.mark.parametrize("trainable", ["last:1", "head"])
def test_saved_sentence_transformers_folder(tmp_path, trainable):
    from sentence_transformers import SentenceTransformer

    encoder = TextEncoder("all-MiniLM-L6-v2", cache=False)
    settings = {**QUICK, "max_epochs": 1, "trainable": trainable}
    tuner = ContrastiveTuner(encoder, objective="captions", **settings)
    folder = tuner.fit(CAPTIONS, groups=GROUPS).save(tmp_path / "tuned")
    vectors = tuner.transform(CAPTIONS)
    assert np.abs(vectors - encoder.transform(CAPTIONS)).max() > 1e-3
    read = TextEncoder(folder, cache=False).transform(CAPTIONS)
    np.testing.assert_allclose(read, vectors, atol=1e-6)
    theirs = SentenceTransformer(str(folder), device="cpu").encode(CAPTIONS)
    np.testing.assert_allclose(theirs, vectors, atol=1e-5)


@pytest.mark.parametrize(
    "network", ["tiny_vit", "tiny_clip", "tiny_resnet", "tiny_timm", "lite"]
)
def test_saved_pictures_network(request, tmp_path, pictures, network):
    model = "efficientnet-lite0"
    if network != "lite":
        model = request.getfixturevalue(network)
    encoder = ImageEncoder(model, cache=False)
    settings = {**QUICK, "max_epochs": 1, "objective": "paired"}
    tuner = ContrastiveTuner(encoder, **settings).fit(pictures, TARGETS[::3])
    folder = tuner.save(tmp_path / "tuned")
    read = ImageEncoder(folder, cache=False)
    vectors = tuner.transform(pictures)
    np.testing.assert_allclose(read.transform(pictures), vectors, atol=1e-6)
    # And tuned again, from there.
    again = ContrastiveTuner(read, **settings).fit(pictures, TARGETS[::3])
    assert not np.allclose(again.transform(pictures), vectors)


def test_one_tuned_tower_leaves_the_other_as_it_was(tmp_path, tiny_clip, pictures):
    texts = TextEncoder(tiny_clip, cache=False)
    tuner = ContrastiveTuner(texts, objective="captions", **QUICK)
    folder = tuner.fit(CAPTIONS, groups=GROUPS).save(tmp_path / "tuned")
    read = TextEncoder(folder, cache=False)
    np.testing.assert_allclose(
        read.transform(CAPTIONS), tuner.transform(CAPTIONS), atol=1e-6
    )
    np.testing.assert_allclose(
        ImageEncoder(folder, cache=False).transform(pictures),
        ImageEncoder(tiny_clip, cache=False).transform(pictures),
        atol=1e-6,
    )
    assert json.loads((folder / "config.json").read_text())["model_type"] == "clip"


def test_the_encoder_given_is_left_as_it_is(bert):
    before = bert.transform(CAPTIONS)
    tuner = ContrastiveTuner(bert, objective="captions", trainable="all", **QUICK)
    tuner.fit(CAPTIONS, groups=GROUPS)
    np.testing.assert_array_equal(bert.transform(CAPTIONS), before)
    np.testing.assert_array_equal(clone(bert).transform(CAPTIONS), before)
    assert tuner.encoder is bert
    assert tuner.fingerprint() != bert.fingerprint()
    assert tuner.content_keys(CAPTIONS) == bert.content_keys(CAPTIONS)


@pytest.mark.parametrize("trainable", ["last:1", "head"])
def test_tuned_encoder_is_cloned_and_tuned_further(bert, trainable):
    settings = {**QUICK, "objective": "captions", "trainable": trainable}
    once = ContrastiveTuner(bert, **settings).fit(CAPTIONS, groups=GROUPS)
    vectors = once.transform(CAPTIONS)
    copy = clone(once.encoder_)
    np.testing.assert_array_equal(copy.transform(CAPTIONS), vectors)
    kept = ContrastiveTuner(copy, **{**settings, "max_epochs": 0})
    kept.fit(CAPTIONS, groups=GROUPS)
    np.testing.assert_allclose(kept.transform(CAPTIONS), vectors, atol=1e-6)
    twice = ContrastiveTuner(copy, **settings).fit(CAPTIONS, groups=GROUPS)
    assert twice.history_["train_loss"][1] < once.history_["train_loss"][1]
    assert set(twice.encoder_.tuned_weights_) == set(once.encoder_.tuned_weights_)
    search = CrossModalRetriever(
        ProcrustesMapper(n_components=2), query_encoder=once.encoder_
    ).fit(CAPTIONS, TARGETS)
    expected = ProcrustesMapper(n_components=2).fit(vectors, TARGETS).transform(vectors)
    np.testing.assert_allclose(search.transform(CAPTIONS), expected, atol=1e-5)


def test_subclass_of_an_encoder_is_refused(tiny_bert):
    class Shouting(TextEncoder):
        def _items(self, X):
            return [text.upper() for text in super()._items(X)]

    tuner = ContrastiveTuner(Shouting(tiny_bert, cache=False), **QUICK)
    with pytest.raises(ValueError, match="itself, not a subclass"):
        tuner.fit(CAPTIONS)


def test_weights_are_digested_once(bert, monkeypatch):
    from skxmodal.encoders import _contrastive_tuned

    digested = []
    digest_of = _contrastive_tuned.digest_of
    monkeypatch.setattr(
        _contrastive_tuned,
        "digest_of",
        lambda weights: digested.append(1) or digest_of(weights),
    )
    tuner = ContrastiveTuner(bert, objective="captions", **QUICK)
    tuner.fit(CAPTIONS, groups=GROUPS)
    digested.clear()
    for _ in range(3):
        tuner.transform(CAPTIONS)
    assert len(digested) == 1
    before = tuner.fingerprint()
    tuner.encoder_.tuned_weights_ = {
        name: weight + 1 for name, weight in tuner.encoder_.tuned_weights_.items()
    }
    assert tuner.fingerprint() != before


def test_cached_vectors_of_two_tunings_do_not_mix(tmp_path, tiny_bert):
    encoder = TextEncoder(tiny_bert, cache=tmp_path)
    plain = encoder.transform(CAPTIONS)
    vectors = [plain]
    for seed in (0, 1):
        tuner = ContrastiveTuner(encoder, objective="captions", **QUICK)
        tuner.set_params(random_state=seed).fit(CAPTIONS, groups=GROUPS)
        vectors.append(tuner.transform(CAPTIONS))
        np.testing.assert_array_equal(tuner.transform(CAPTIONS), vectors[-1])
    assert not np.allclose(vectors[0], vectors[1])
    assert not np.allclose(vectors[1], vectors[2])
    np.testing.assert_array_equal(encoder.transform(CAPTIONS), plain)


@pytest.mark.parametrize("objective", ["unsupervised", "captions", "paired"])
def test_same_seed_same_bits(bert, objective):
    tuner = ContrastiveTuner(bert, objective=objective, trainable="all", **QUICK)
    first = clone(tuner).fit(CAPTIONS, TARGETS).transform(CAPTIONS)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    second = clone(tuner).fit(CAPTIONS, TARGETS)
    assert torch.equal(torch.rand(3), expected)
    np.testing.assert_array_equal(first, second.transform(CAPTIONS))


@pytest.mark.parametrize("random_state", [0, None])
def test_resumed_from_a_checkpoint(bert, tmp_path, monkeypatch, random_state):
    settings = {**QUICK, "objective": "captions", "random_state": random_state}
    settings |= {"trainable": "all", "max_epochs": 4, "weight_average": 0.5}
    whole = ContrastiveTuner(bert, checkpoint_dir=tmp_path / "whole", **settings)
    expected = whole.fit(CAPTIONS, groups=GROUPS).transform(CAPTIONS)
    broken = ContrastiveTuner(bert, checkpoint_dir=tmp_path / "broken", **settings)
    epoch = Training._epoch

    def die_in_the_third(self, number, guard):
        if number == 3:
            raise RuntimeError("killed")
        return epoch(self, number, guard)

    monkeypatch.setattr(Training, "_epoch", die_in_the_third)
    with pytest.raises(RuntimeError, match="killed"):
        broken.fit(CAPTIONS, groups=GROUPS)
    monkeypatch.setattr(Training, "_epoch", epoch)
    resumed = broken.fit(CAPTIONS, groups=GROUPS).transform(CAPTIONS)
    np.testing.assert_array_equal(resumed, expected)
    assert len(list((tmp_path / "broken").iterdir())) == 1
    broken.fit(CAPTIONS[:9], groups=GROUPS[:9])
    assert len(list((tmp_path / "broken").iterdir())) == 2


def test_checkpoints_of_other_targets_are_other_checkpoints(bert, tmp_path):
    settings = {**QUICK, "objective": "paired", "max_epochs": 1}
    tuner = ContrastiveTuner(bert, checkpoint_dir=tmp_path / "here", **settings)
    first = tuner.fit(CAPTIONS, TARGETS).transform(CAPTIONS)
    assert len(list((tmp_path / "here").iterdir())) == 1
    other = tuner.fit(CAPTIONS, TARGETS[::-1]).transform(CAPTIONS)
    assert len(list((tmp_path / "here").iterdir())) == 2
    assert not np.allclose(first, other)
    expected = ContrastiveTuner(bert, **settings).fit(CAPTIONS, TARGETS)
    np.testing.assert_array_equal(first, expected.transform(CAPTIONS))


def test_checkpoint_of_adapters_is_found_again(bert, tmp_path):
    from peft import LoraConfig

    names = set()
    for modules in (["query", "value", "key"], ["key", "query", "value"]):
        config = LoraConfig(r=2, target_modules=modules)
        # The order in which a set shows its members differs between processes.
        config.target_modules = InOrder(modules)
        settings = {**QUICK, "objective": "captions", "max_epochs": 1}
        tuner = ContrastiveTuner(
            bert, trainable=config, checkpoint_dir=tmp_path / "here", **settings
        )
        names.add(tuner._name_and_seed(bert, [b"a"], None, GROUPS))
    assert len(names) == 1


class InOrder(set):
    """A set that shows its members in a given order."""

    def __init__(self, members):
        super().__init__(members)
        self.members = list(members)

    def __repr__(self):
        return repr(self.members)

    def __deepcopy__(self, memo):
        return InOrder(self.members)


def test_checkpoint_knows_whether_vectors_are_normalised(tiny_bert, tmp_path):
    settings = {**QUICK, "objective": "captions"}
    weights = []
    for folder in (tmp_path / "here", tmp_path / "here", None):
        encoder = TextEncoder(tiny_bert, cache=False, normalize=bool(not weights))
        tuner = ContrastiveTuner(encoder, checkpoint_dir=folder, **settings)
        # Scaled alike, the loss is of cosines and differs by rounding alone.
        tuner.fit(CAPTIONS, groups=GROUPS)
        weights.append(tuner.encoder_.tuned_weights_)
    for name, weight in weights[2].items():
        np.testing.assert_array_equal(weights[1][name], weight)
    assert len(list((tmp_path / "here").iterdir())) == 2


TUNE = """
import sys
from skxmodal._torchvision import import_transformers
import_transformers()
import numpy as np
from skxmodal.encoders import ContrastiveTuner, TextEncoder
words = ("dog", "cat", "car", "bird", "man", "house")
captions = [text for word in words for text in (f"a {{word}}", f"small {{word}}")]
tuner = ContrastiveTuner(
    TextEncoder({model!r}, cache=False, device="cpu"), objective="captions",
    batch_size=6, max_epochs=40, learning_rate=1e-3, checkpoint_dir={folder!r},
)
tuner.fit(captions, groups=np.arange(12) // 2)
np.savez({result!r}, **tuner.encoder_.tuned_weights_)
"""


def test_killed_and_resumed_ends_with_the_same_weights(tiny_bert, tmp_path):
    def start(name):
        script = TUNE.format(
            model=str(tiny_bert),
            folder=str(tmp_path / name),
            result=str(tmp_path / f"{name}.npz"),
        )
        return subprocess.Popen([sys.executable, "-c", script])

    broken = start("broken")
    while not list(tmp_path.glob("broken/*/training.pt")):
        assert broken.poll() is None
        time.sleep(0.001)
    broken.kill()
    broken.wait()
    assert not (tmp_path / "broken.npz").exists()
    resumed, whole = start("broken"), start("whole")
    assert (resumed.wait(), whole.wait()) == (0, 0)
    expected, found = (np.load(tmp_path / f"{n}.npz") for n in ("whole", "broken"))
    for name in expected.files:
        np.testing.assert_array_equal(expected[name], found[name])


def test_texts_that_are_cut_are_counted_in_a_warning(tiny_bert):
    encoder = TextEncoder(tiny_bert, cache=False, max_length=4)
    tuner = ContrastiveTuner(encoder, objective="captions", **QUICK)
    with pytest.warns(UserWarning, match="12 of 18 texts, row 1 the first"):
        tuner.fit(CAPTIONS, groups=GROUPS)


def test_interrupt_keeps_the_weights_so_far(bert, monkeypatch, ctrl_c):
    calls = []
    call = training_module.Objective.__call__

    def press_at_the_fifth(self, rows):
        calls.append(rows)
        if len(calls) == 5:
            ctrl_c()
        return call(self, rows)

    monkeypatch.setattr(training_module.Objective, "__call__", press_at_the_fifth)
    tuner = ContrastiveTuner(bert, objective="captions", **QUICK).set_params(
        max_epochs=50
    )
    message = "interrupted in epoch 3 of 50"
    with pytest.warns(ConvergenceWarning, match=message) as told:
        tuner.fit(CAPTIONS, groups=GROUPS)
    assert told[0].filename == __file__
    assert len(calls) == 5
    assert not np.allclose(tuner.transform(CAPTIONS), bert.transform(CAPTIONS))


@pytest.mark.parametrize(
    ("settings", "fit", "message"),
    [
        ({"objective": "paired"}, {}, "objective='paired' needs y"),
        ({"objective": "paired"}, {"y": ["a.jpg"] * 18}, "got raw items"),
        ({"objective": "paired"}, {"y": TARGETS[:4]}, "18 items and y has 4 rows"),
        ({"objective": "paired"}, {"y": TARGETS * np.nan}, "contains NaN"),
        ({"objective": "captions"}, {}, "objective='captions' needs groups"),
        ({"objective": "captions"}, {"groups": range(18)}, "18 texts are of 18 groups"),
        ({"objective": "captions"}, {"groups": [1] * 18}, "all 18 rows are of one"),
        ({"objective": "captions"}, {"groups": [1, 2]}, "2 labels for 18 rows"),
        ({"temperature": 0.005}, {}, r"'temperature' .* in the range \[0.01"),
        ({"batch_size": 1}, {}, "batch_size must be at least 2, got 1"),
        (
            {"batch_size": 4, "objective": "captions"},
            {"groups": np.arange(18) // 9},
            "the largest group has 9 rows",
        ),
        ({"trainable": "last:0"}, {}, "trainable='last:0' must be"),
        ({"trainable": "some"}, {}, "trainable='some' must be"),
        ({"trainable": 3}, {}, "trainable=3 must be"),
        ({"trainable": "last:9"}, {}, "the network has 2 blocks"),
        ({"trainable": "head"}, {}, "the trained layers of this network have none"),
    ],
)
def test_what_cannot_be_tuned_is_refused(bert, settings, fit, message):
    tuner = ContrastiveTuner(bert, **{**QUICK, **settings})
    with pytest.raises(ValueError, match=message):
        tuner.fit(CAPTIONS, **fit)
    with pytest.raises(NotFittedError):
        tuner.transform(CAPTIONS)


def test_pairs_of_other_lengths_and_encoders_of_others_are_refused(bert):
    with pytest.raises(ValueError, match="18 items and y has 3 rows"):
        ContrastiveTuner(bert, objective="paired", **QUICK).fit(CAPTIONS, TARGETS[:3])
    tuner = ContrastiveTuner(FunctionTransformer(), **QUICK)
    assert not get_tags(tuner).input_tags.string
    with pytest.raises(ValueError, match="'encoder' parameter of ContrastiveTuner"):
        tuner.fit(CAPTIONS, groups=GROUPS)


def test_adapters_need_linear_layers(tiny_resnet, pictures):
    encoder = ImageEncoder(tiny_resnet, cache=False)
    tuner = ContrastiveTuner(encoder, objective="paired", trainable="adapters", **QUICK)
    with pytest.raises(ValueError, match="this network has none there"):
        tuner.fit(pictures, TARGETS[::3])


def test_divergence_names_the_batch(bert):
    tuner = ContrastiveTuner(bert, objective="captions", **QUICK)
    tuner.set_params(learning_rate=1e38, max_epochs=20)
    with pytest.raises(FloatingPointError, match=r"batch \d+ of epoch .*learning"):
        tuner.fit(CAPTIONS, groups=GROUPS)


@pytest.mark.parametrize("rate", [1e10, 1e30])
def test_divergence_in_the_last_step_is_told(bert, rate):
    tuner = ContrastiveTuner(bert, objective="captions", trainable="all", **QUICK)
    tuner.set_params(learning_rate=rate, max_epochs=1, batch_size=18, warmup=0.0)
    with pytest.raises(FloatingPointError, match=r"Lower the learning rate"):
        tuner.fit(CAPTIONS, groups=GROUPS)
    assert not hasattr(tuner, "encoder_")


def test_temperature_of_a_hundredth_is_learned(bert):
    tuner = ContrastiveTuner(bert, objective="captions", **QUICK)
    tuner.set_params(temperature=0.01, max_epochs=8).fit(CAPTIONS, groups=GROUPS)
    assert tuner.temperature_ > 0.01001


def test_pictures_of_any_size_are_augmented(tiny_vit, pictures):
    encoder = ImageEncoder(tiny_vit, cache=False)
    items = [Image.new("RGB", (2, 2)), *pictures]
    model = encoder._load()
    size = model.prepare(Image.new("RGB", (50, 60))).shape[1:]
    views = views_module.PictureItems(model, items)
    for picture in (items[0], Image.fromarray(pictures[0])):
        assert views.augment(picture).size == size[::-1]
    settings = {**QUICK, "max_epochs": 1}
    tuner = ContrastiveTuner(encoder, trainable="all", **settings).fit(items)
    assert np.isfinite(tuner.transform(items)).all()


@pytest.fixture
def tiny_t5(tiny_bert, tmp_path):
    """A T5 of two layers, whose embeddings are tied, with the tokeniser of a BERT."""
    from transformers import AutoTokenizer, T5Config, T5Model

    tokenizer = AutoTokenizer.from_pretrained(str(tiny_bert))
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=16,
        d_kv=8,
        d_ff=32,
        num_layers=2,
        num_heads=2,
    )
    torch.manual_seed(0)
    T5Model(config).save_pretrained(tmp_path / "t5")
    tokenizer.save_pretrained(tmp_path / "t5")
    return tmp_path / "t5"


def test_saved_network_with_tied_embeddings(tiny_t5, tmp_path):
    encoder = TextEncoder(tiny_t5, cache=False)
    tuner = ContrastiveTuner(encoder, objective="captions", trainable="all", **QUICK)
    folder = tuner.fit(CAPTIONS, groups=GROUPS).save(tmp_path / "tuned")
    read = TextEncoder(folder, cache=False).transform(CAPTIONS)
    np.testing.assert_allclose(read, tuner.transform(CAPTIONS), atol=1e-6)
    assert not np.allclose(read, encoder.transform(CAPTIONS), atol=1e-2)


@pytest.mark.parametrize("trainable", ["last:1", "head"])
def test_saved_weights_keep_their_precision(tiny_bert, tmp_path, trainable):
    from transformers import AutoModel, AutoTokenizer

    half = tmp_path / "half"
    AutoModel.from_pretrained(str(tiny_bert)).half().save_pretrained(half)
    AutoTokenizer.from_pretrained(str(tiny_bert)).save_pretrained(half)
    encoder = TextEncoder(half, cache=False, dtype="bfloat16")
    settings = {**QUICK, "objective": "captions", "trainable": trainable}
    tuner = ContrastiveTuner(encoder, **settings).fit(CAPTIONS, groups=GROUPS)
    folder = tuner.save(tmp_path / "tuned")
    read = TextEncoder(folder, cache=False).transform(CAPTIONS)
    full = with_weights(TextEncoder(half, cache=False), tuner.encoder_.tuned_weights_)
    np.testing.assert_allclose(read, full.transform(CAPTIONS), atol=1e-6)


def test_save_that_fails_leaves_no_folder(bert, tmp_path, monkeypatch):
    from skxmodal.encoders import _contrastive_files

    tuner = ContrastiveTuner(bert, objective="captions", **QUICK)
    tuner.fit(CAPTIONS, groups=GROUPS)

    def fail(*given, **named):
        raise OSError("disk full")

    (tmp_path / "empty").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(_contrastive_files, "_write_json", fail)
        for name in ("new", "empty"):
            with pytest.raises(OSError, match="disk full"):
                tuner.save(tmp_path / name)
    assert not (tmp_path / "new").exists()
    assert not list((tmp_path / "empty").iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match="is a file"):
        tuner.save(tmp_path / "file")
    vectors = TextEncoder(tuner.save(tmp_path / "empty"), cache=False)
    assert not list((tmp_path / "empty").glob(".*"))
    np.testing.assert_allclose(
        vectors.transform(CAPTIONS), tuner.transform(CAPTIONS), atol=1e-6
    )


def test_pickle_and_names(bert):
    tuner = ContrastiveTuner(bert, objective="captions", **QUICK)
    tuner.fit(CAPTIONS, groups=GROUPS)
    again = pickle.loads(pickle.dumps(tuner))
    np.testing.assert_array_equal(again.transform(CAPTIONS), tuner.transform(CAPTIONS))
    names = tuner.get_feature_names_out()
    assert names[0] == "contrastivetuner0"
    assert len(names) == 16
    assert tuner.set_params(encoder__pooling="cls").encoder.pooling == "cls"


def test_each_fold_tunes_on_its_own_training_part(bert, monkeypatch):
    seen = []
    tune = training_module.tune

    def noted(encoder, items, *given, **named):
        seen.append(set(items))
        return tune(encoder, items, *given, **named)

    monkeypatch.setattr(training_module, "tune", noted)
    search = CrossModalRetriever(
        ProcrustesMapper(n_components=2),
        query_encoder=ContrastiveTuner(bert, objective="paired", **QUICK),
    )
    grid = GridSearchCV(
        search,
        {"query_encoder__trainable": ["last:1", "all"]},
        cv=GroupKFold(3),
        scoring=lambda estimator, X, y: estimator.score(X, y) if len(y) > 60 else 0.0,
        refit=False,
        error_score="raise",
    )
    grid.fit(CAPTIONS, TARGETS, groups=GROUPS)
    folds = [
        {CAPTIONS[row] for row in rows}
        for rows, _ in GroupKFold(3).split(CAPTIONS, groups=GROUPS)
    ]
    assert seen == folds * 2


def test_retriever_with_a_tuner_is_saved_and_read(bert, tmp_path):
    search = CrossModalRetriever(
        ProcrustesMapper(n_components=2),
        query_encoder=ContrastiveTuner(bert, objective="paired", **QUICK),
    ).fit(CAPTIONS, TARGETS)
    save(search, tmp_path / "model")
    again = load(tmp_path / "model")
    np.testing.assert_array_equal(
        again.transform(CAPTIONS[:5]), search.transform(CAPTIONS[:5])
    )
