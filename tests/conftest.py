"""Fixtures that several parts of the suite share: tiny checkpoints and pictures."""

from __future__ import annotations

import csv
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

# Before anything reads them: no test reaches the hub, or the user's own caches.
_HOME = tempfile.TemporaryDirectory(
    prefix="skxmodal-tests-", ignore_cleanup_errors=True
)
os.environ["HF_ENDPOINT"] = "http://127.0.0.1:9"
os.environ["HF_HOME"] = f"{_HOME.name}/huggingface"
os.environ["TORCH_HOME"] = f"{_HOME.name}/torch"
os.environ["SKXMODAL_CACHE"] = f"{_HOME.name}/skxmodal"
os.environ.pop("HF_HUB_OFFLINE", None)

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

from skxmodal._torchvision import import_transformers  # noqa: E402
from skxmodal.datasets import load_openmoji  # noqa: E402

# The suite draws the same examples always. HYPOTHESIS_PROFILE=long draws new ones, a
# hundred times as many where a test leaves their number to the profile.
settings.register_profile(
    "suite", derandomize=True, deadline=None, max_examples=60, print_blob=True
)
settings.register_profile(
    "long",
    derandomize=False,
    deadline=None,
    max_examples=6000,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))

# torchvision's import beside a CPU torch is put right once, for every test.
import_transformers()

WORDS = [
    "a",
    "an",
    "the",
    "and",
    "of",
    "on",
    "in",
    "with",
    "dog",
    "cat",
    "car",
    "bird",
    "man",
    "woman",
    "child",
    "red",
    "blue",
    "green",
    "small",
    "large",
    "runs",
    "sits",
    "sleeps",
    "flies",
    "grass",
    "water",
    "road",
    "house",
    "beach",
    "ball",
    "##s",
    "##ing",
    "hello",
]
SIDE = 32


@pytest.fixture
def cat() -> Path:
    """A photograph of a cat, from scikit-image's wheel."""
    return Path(str(files("skimage"))) / "data" / "chelsea.png"


@pytest.fixture
def cup() -> Path:
    """A photograph of a cup of coffee, from scikit-image's wheel."""
    return Path(str(files("skimage"))) / "data" / "coffee.png"


@pytest.fixture
def pictures() -> np.ndarray:
    """Six small random pictures, an array of shape (6, 40, 48, 3)."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (6, 40, 48, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def emoji() -> Any:
    """The emoji with their names, small."""
    return load_openmoji(size=64)


@pytest.fixture(scope="session")
def captioned_folder(emoji: Any) -> Callable[..., None]:
    """Fill a folder with every so many emoji, and captions.csv with two of each."""

    def fill(folder: Path, *, every: int) -> None:
        with (folder / "captions.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["image", "caption"])
            for row in range(0, len(emoji.names), every):
                path, name = emoji.pictures[row], emoji.names[row]
                shutil.copy(path, folder / path.name)
                writer.writerow([path.name, name])
                writer.writerow([path.name, f"a drawing of {name}"])

    return fill


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers with random weights, saved with its tokeniser."""
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("bert")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [
        sign + letter for letter in map(chr, range(97, 123)) for sign in ("", "##")
    ]
    words = list(dict.fromkeys([*special, *WORDS, *letters]))
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    settings = {"tokenizer_class": "BertTokenizer", "model_max_length": 24}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    _save(lambda: BertModel(config, add_pooling_layer=False), folder)
    return folder


@pytest.fixture(scope="session")
def tiny_vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ViT of one layer with random weights, without a pooler."""
    from transformers import ViTConfig, ViTModel

    folder = tmp_path_factory.mktemp("vit")
    config = ViTConfig(**_small_transformer(), image_size=SIDE, patch_size=8)
    _save(lambda: ViTModel(config, add_pooling_layer=False), folder)
    _save_processor("ViTImageProcessor", folder, size={"height": SIDE, "width": SIDE})
    return folder


@pytest.fixture(scope="session")
def tiny_dinov2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DINOv2 with random weights, whose processor crops."""
    from transformers import Dinov2Config, Dinov2Model

    folder = tmp_path_factory.mktemp("dinov2")
    config = Dinov2Config(**_small_transformer(), image_size=SIDE, patch_size=8)
    _save(lambda: Dinov2Model(config), folder)
    _save_processor(
        "BitImageProcessor",
        folder,
        size={"shortest_edge": SIDE + 8},
        crop_size={"height": SIDE, "width": SIDE},
    )
    return folder


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP with random weights, both towers, tokeniser and image processor."""
    from transformers import CLIPConfig, CLIPModel

    folder = tmp_path_factory.mktemp("clip")
    vocabulary = _write_byte_vocabulary(folder)
    config = CLIPConfig(
        text_config={
            **_small_transformer(),
            "vocab_size": len(vocabulary),
            "max_position_embeddings": 20,
            "bos_token_id": vocabulary["<|startoftext|>"],
            "eos_token_id": vocabulary["<|endoftext|>"],
            "pad_token_id": vocabulary["<|endoftext|>"],
        },
        vision_config={**_small_transformer(), "image_size": SIDE, "patch_size": 8},
        projection_dim=12,
    )
    _save(lambda: CLIPModel(config), folder)
    _save_processor(
        "CLIPImageProcessor",
        folder,
        size={"shortest_edge": SIDE},
        crop_size={"height": SIDE, "width": SIDE},
    )
    return folder


@pytest.fixture(scope="session")
def tiny_resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ResNet of two stages with random weights."""
    from transformers import ResNetConfig, ResNetModel

    folder = tmp_path_factory.mktemp("resnet")
    config = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"
    )
    _save(lambda: ResNetModel(config), folder)
    _save_processor("ConvNextImageProcessor", folder, size={"shortest_edge": SIDE})
    return folder


@pytest.fixture(scope="session")
def tiny_timm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of timm with random weights, in transformers' wrapper."""
    from transformers import TimmWrapperConfig, TimmWrapperModel

    folder = tmp_path_factory.mktemp("timm")
    prepared = {
        "input_size": [3, SIDE, SIDE],
        "interpolation": "bicubic",
        "crop_pct": 0.9,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
    }
    config = TimmWrapperConfig(
        architecture="resnet10t", num_labels=0, pretrained_cfg=prepared
    )
    config.pretrained_cfg = prepared
    _save(lambda: TimmWrapperModel(config), folder)
    return folder


def _small_transformer() -> dict[str, int]:
    return {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }


def _save(build: Callable[[], Any], folder: Path) -> None:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build()
        # Freshly made networks are too near to zero to tell pictures apart.
        for parameter in network.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.3)
    network.eval().save_pretrained(folder)


def _save_processor(class_name: str, folder: Path, **settings: Any) -> None:
    settings = {
        "image_processor_type": class_name,
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "resample": 3,
        "do_center_crop": "crop_size" in settings,
        **settings,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))


def _write_byte_vocabulary(folder: Path) -> dict[str, int]:
    """CLIP's tokeniser with every byte a token and no merges."""
    from tokenizers.pre_tokenizers import ByteLevel

    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": 20,
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return vocabulary
