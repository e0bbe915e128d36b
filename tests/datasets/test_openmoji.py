"""The OpenMoji pictures, drawn for real."""

import hashlib
import multiprocessing
import re

import emoji
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from skxmodal.datasets import load_openmoji

SIZE = 32


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("openmoji")


@pytest.fixture(scope="module")
def data(cache):
    return load_openmoji(size=SIZE, cache=cache)


def test_is_the_set_that_the_figures_are_for(data):
    assert len(data.pictures) == len(data.names) == len(data.emoji) == 1923
    assert len(set(data.emoji)) == len(set(data.names)) == 1923
    toned = [e for e in data.emoji if len(e) > 1 and set(e) & set("🏻🏼🏽🏾🏿")]
    assert toned == []
    assert "1923 pictures of 32 x 32" in data.DESCR
    assert "CC BY-SA 4.0" in data.DESCR


def test_what_is_left_out_is_newer_than_the_font(data):
    status = emoji.STATUS["fully_qualified"]
    plain = {
        character
        for character, entry in emoji.EMOJI_DATA.items()
        if entry["status"] == status and not set(character) & set("🏻🏼🏽🏾🏿")
    }
    left_out = plain - set(data.emoji)
    assert all(emoji.EMOJI_DATA[character]["E"] >= 18 for character in left_out)


def test_names_are_those_of_unicode(data):
    names = dict(zip(data.emoji, data.names, strict=True))
    assert names["☔"] == "umbrella with rain drops"
    assert names["🇳🇴"] == "Norway"
    assert names["👩‍🚀"] == "woman astronaut"
    assert not any(re.search(r"[:_]", name) for name in data.names)


def test_pictures_have_ink_on_white_that_touches_no_edge(data):
    for path in data.pictures:
        pixels = np.asarray(Image.open(path))
        assert pixels.shape == (SIZE, SIZE, 3)
        assert pixels.min() < 128, path
        edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        assert (edge == 255).all(), path


def test_pictures_show_their_colours(data):
    rows = {character: row for row, character in enumerate(data.emoji)}
    red, blue = (
        np.asarray(Image.open(data.pictures[rows[heart]]))[SIZE // 2, SIZE // 2]
        for heart in ("❤️", "💙")
    )
    assert red[0] > red[2] + 80
    assert blue[2] > blue[0] + 80


def test_groups_are_pictures_with_the_same_content(data):
    content = [hashlib.sha256(path.read_bytes()).digest() for path in data.pictures]
    numbers = {}
    expected = [numbers.setdefault(digest, len(numbers)) for digest in content]
    assert_array_equal(data.groups, expected)
    assert data.groups.dtype == np.int64
    groups = dict(zip(data.emoji, data.groups, strict=True))
    assert groups["🇳🇴"] == groups["🇸🇯"]
    assert groups["🐱"] != groups["🐶"]


def test_second_load_draws_nothing_and_gives_the_same(data, cache):
    before = {path: path.stat().st_mtime_ns for path in data.pictures}
    again = load_openmoji(size=SIZE, cache=cache)
    assert again.pictures == data.pictures
    assert again.names == data.names
    assert {path: path.stat().st_mtime_ns for path in again.pictures} == before


@pytest.mark.parametrize("damage", ["remove", "truncate", "index"])
def test_a_damaged_cache_is_drawn_again(data, cache, damage, capsys):
    victim = data.pictures[7]
    content = victim.read_bytes()
    if damage == "remove":
        victim.unlink()
    elif damage == "truncate":
        victim.write_bytes(content[:20])
    else:
        (victim.parent / "index.json").write_text('{"rows": [')
    again = load_openmoji(size=SIZE, cache=cache, show_progress=True)
    assert again.pictures == data.pictures
    assert victim.read_bytes() == content
    # A bar with an estimate of the time left, and none where nothing is drawn.
    assert re.search(r"Drawing emoji: 100%.*\[\d+:\d+<\d+:\d+", capsys.readouterr().err)
    load_openmoji(size=SIZE, cache=cache, show_progress=True)
    assert capsys.readouterr().err == ""


def _load(folder):
    data = load_openmoji(size=16, cache=folder)
    return [path.read_bytes() for path in data.pictures]


def test_processes_that_start_together_get_whole_pictures(tmp_path):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        first, second = pool.map(_load, [tmp_path, tmp_path])
    assert first == second
    assert len(first) == 1923
    assert list(tmp_path.rglob("*.part")) == []


@pytest.mark.parametrize("size", [0, 15, 2049, -1])
def test_size_out_of_range(size):
    with pytest.raises(ValueError, match=f"between 16 and 2048 pixels, got {size}"):
        load_openmoji(size=size)


@pytest.mark.parametrize("size", [64.0, "64", True, None])
def test_size_of_another_type(size):
    with pytest.raises(ValueError, match="size must be an integer"):
        load_openmoji(size=size)


def test_cache_variable_says_where(tmp_path, monkeypatch):
    monkeypatch.setenv("SKXMODAL_CACHE", str(tmp_path))
    data = load_openmoji(size=16)
    assert data.pictures[0].is_relative_to(tmp_path / "openmoji")
