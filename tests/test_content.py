from __future__ import annotations

import io
from hashlib import blake2b

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from PIL import Image

from skxmodal._content import content_keys, group_items, hash_file


def _picture(seed=0, size=(8, 6), mode="RGB"):
    channels = {"L": 1, "RGB": 3, "RGBA": 4}[mode]
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (size[1], size[0], channels), dtype=np.uint8)
    return Image.fromarray(pixels.squeeze(), mode=None)


def _save(path, seed=0, **options):
    _picture(seed).save(path, **options)
    return path


@given(st.lists(st.text(max_size=4), max_size=30))
def test_captions_share_a_key_just_where_they_are_equal(captions):
    keys = content_keys(captions, kind="text")
    assert [captions.index(c) for c in captions] == [keys.index(k) for k in keys]
    assert all(len(key) == 20 for key in keys)


def test_a_key_is_the_digest_of_the_file(tmp_path):
    path = _save(tmp_path / "a.png")
    expected = blake2b(path.read_bytes(), digest_size=20, person=b"file").digest()
    assert hash_file(path) == expected
    assert content_keys([str(path)], kind="picture") == [expected]
    assert content_keys([path, path.read_bytes()]) == [expected, expected]


def test_copies_of_a_file_share_a_key_and_a_changed_one_does_not(tmp_path):
    first = _save(tmp_path / "a.png")
    copy = tmp_path / "b.png"
    copy.write_bytes(first.read_bytes())
    other = _save(tmp_path / "c.png", seed=1)
    keys = content_keys([first, copy, other], kind="picture")
    assert keys[0] == keys[1] != keys[2]


def test_a_pil_picture_and_its_array_share_a_key():
    for mode in ("L", "RGB", "RGBA"):
        picture = _picture(mode=mode)
        keys = content_keys([picture, np.asarray(picture)], kind="picture")
        assert keys[0] == keys[1]


def test_what_changes_a_picture_changes_its_key():
    picture = _picture()
    turned = picture.copy()
    turned.getexif()[0x0112] = 6
    palette = picture.convert("P", palette=Image.Palette.ADAPTIVE)
    recoloured = palette.copy()
    recoloured.putpalette([255 - c for c in palette.getpalette()])
    cut_out = palette.copy()
    cut_out.info["transparency"] = 3
    tall = Image.frombytes("RGB", (6, 8), picture.tobytes())
    grey = picture.convert("L")
    pictures = [picture, turned, palette, recoloured, cut_out, tall, grey]
    assert len(set(content_keys(pictures, kind="picture"))) == len(pictures)


def test_an_array_of_pictures_has_a_key_for_each():
    pictures = np.stack([np.asarray(_picture(seed)) for seed in (0, 1, 0)])
    keys = content_keys(pictures, kind="picture")
    assert keys[0] == keys[2] != keys[1]
    # A view with other strides holds the same pixels.
    flipped = pictures[:, :, ::-1]
    assert content_keys(flipped, kind="picture") == content_keys(
        flipped.copy(), kind="picture"
    )


def test_a_string_is_a_path_only_among_pictures(tmp_path):
    path = str(_save(tmp_path / "a.png"))
    as_text, as_itself = content_keys([path], kind="text"), content_keys([path])
    assert as_text == as_itself != content_keys([path], kind="picture")


def test_numbers_and_rows_are_taken_as_they_are():
    keys = content_keys([1, 1.0, np.int8(1), 2, 1.5, True])
    assert keys[0] == keys[1] == keys[2] == keys[5]
    assert len(set(keys)) == 3
    X = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    rows = content_keys(X)
    assert rows[0] == rows[2] != rows[1]
    assert content_keys(np.asfortranarray(X)) == rows
    # Large neighbours that one float stands for stay apart.
    assert len(set(content_keys([2**60, 2**60 + 1]))) == 2


@pytest.mark.parametrize(
    "container",
    [
        tuple,
        iter,
        np.array,
        lambda x: np.array(x, dtype=object),
        lambda x: np.array(x, dtype=object)[:, np.newaxis],
        pd.Series,
        lambda x: pd.DataFrame({"caption": x}),
        pl.Series,
    ],
)
def test_every_container_of_captions_gives_the_same_keys(container):
    captions = ["a dog", "a cat", "a dog"]
    assert content_keys(container(captions)) == content_keys(captions)


def test_hash_files_is_asked_once_for_each_path(tmp_path):
    first, second = _save(tmp_path / "a.png"), _save(tmp_path / "b.png", seed=1)
    asked = []

    def hash_files(paths):
        asked.extend(paths)
        return [hash_file(path) for path in paths]

    items = [first, second, str(first), first]
    keys = content_keys(items, kind="picture", hash_files=hash_files)
    assert keys == content_keys(items, kind="picture")
    assert asked == [str(first), str(second)]


def test_a_missing_file_is_named_with_its_row(tmp_path):
    here, gone = _save(tmp_path / "a.png"), tmp_path / "gone.png"
    with pytest.raises(ValueError, match=r"Row 1: the picture .*gone\.png"):
        content_keys([here, gone], kind="picture")
    with pytest.raises(ValueError, match=r"Row 0: the picture"):
        content_keys([tmp_path], kind="picture")


@pytest.mark.parametrize(
    ("items", "kind", "message"),
    [
        (["a", None], "text", "Row 1: expected a string, got NoneType"),
        (["a", b"b"], "text", "Row 1: expected a string, got bytes"),
        ([None], "picture", "Row 0: expected a picture"),
        ([{}], "auto", "Row 0: expected a string, a number"),
        ([np.array(["x"])], "picture", "Row 0: expected a picture"),
        ("a caption", "text", "Give a list of one item"),
        (np.array(3), "auto", "no axes"),
    ],
)
def test_what_has_no_content_is_refused(items, kind, message):
    with pytest.raises(TypeError, match=message):
        content_keys(items, kind=kind)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="kind must be one of"):
        content_keys(["a"], kind="sound")


@given(st.lists(st.integers(-3, 3), max_size=40))
def test_groups_are_numbered_in_order_of_first_appearance(groups):
    first_rows, item_of_row = group_items(groups)
    distinct = list(dict.fromkeys(groups))
    assert_array_equal(first_rows, [groups.index(g) for g in distinct])
    assert_array_equal(item_of_row, [distinct.index(g) for g in groups])
    assert first_rows.dtype == item_of_row.dtype == np.intp


@pytest.mark.parametrize("container", [np.array, pd.Series, pl.Series, tuple])
def test_groups_come_in_any_container(container):
    first_rows, item_of_row = group_items(container(["b", "a", "b"]))
    assert_array_equal(first_rows, [0, 1])
    assert_array_equal(item_of_row, [0, 1, 0])


def test_groups_of_nothing():
    first_rows, item_of_row = group_items([])
    assert len(first_rows) == len(item_of_row) == 0


def test_bad_groups_are_refused():
    with pytest.raises(ValueError, match="Row 1 has the group nan"):
        group_items([0.0, float("nan")])
    with pytest.raises(ValueError, match=r"shape \(2, 2\)"):
        group_items(np.zeros((2, 2)))


def test_a_picture_read_lazily_has_the_key_of_its_pixels():
    buffer = io.BytesIO()
    _picture().save(buffer, "PNG")
    lazy = Image.open(buffer)
    assert content_keys([lazy], kind="picture") == content_keys(
        [_picture()], kind="picture"
    )


def test_rows_are_known_by_their_values_whatever_the_dtype():
    exact = np.array([[0.5, np.nan], [np.inf, -0.0]])
    keys = content_keys(exact)
    assert content_keys(exact.astype(np.float32)) == keys
    assert content_keys(exact.astype(np.float16)) == keys
    assert content_keys(exact.astype(">f8")) == keys
    wide = np.array([[0.1, 1e300]])
    assert content_keys(wide) != content_keys(np.array([[np.float32(0.1), 1e300]]))


def test_strings_that_are_files_are_found_where_asked(tmp_path):
    path = str(_save(tmp_path / "a.png"))
    captions = ["a dog", "long " * 100, "nul\0"]
    found = content_keys([path, *captions], kind="found")
    assert found == [hash_file(path), *content_keys(captions)]
