"""How items flow: in threads, over devices, from iterators, to arrays and files."""

from __future__ import annotations

import threading
import time
import tracemalloc
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image
from sklearn.base import clone

from skxmodal._pictures import PictureError
from skxmodal.encoders import ImageEncoder, TextEncoder, _pool
from skxmodal.encoders._cache import EmbeddingCache
from skxmodal.encoders._threads import in_threads

TEXTS = ["a dog", "the cat sleeps", "a dog", "a red car on the road", "water"]


@pytest.fixture
def encoder(tiny_bert) -> TextEncoder:
    return TextEncoder(tiny_bert, cache=False, batch_size=2)


def test_threads_keep_the_order():
    def wait(number):
        time.sleep(0.001 * (7 * number % 5))
        return number

    for n_items, ahead in ((0, 3), (1, 3), (50, 1), (50, 8)):
        results = in_threads(wait, range(n_items), ahead=ahead, n_threads=4)
        assert list(results) == list(range(n_items))


def test_threads_are_at_most_so_far_ahead():
    begun = []
    results = in_threads(begun.append, range(100), ahead=5, n_threads=2)
    next(results)
    time.sleep(0.05)
    assert len(begun) <= 6
    results.close()
    assert len(begun) <= 6


def test_an_error_in_a_thread_comes_in_its_place():
    def invert(number):
        return 1 / (number - 2)

    before = set(threading.enumerate())
    results = in_threads(invert, range(5), ahead=10, n_threads=3)
    assert [next(results), next(results)] == [-0.5, -1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert set(threading.enumerate()) <= before


def test_no_thread_outlives_an_error(tiny_vit, tmp_path):
    pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    pictures = [pixels + 1, tmp_path / "broken.png", *(pixels + i for i in range(9))]
    encoder = ImageEncoder(tiny_vit, cache=False, batch_size=2)
    before = set(threading.enumerate())
    # What was raised keeps alive whatever was at work, as a notebook does.
    with pytest.raises(PictureError, match="Row 1") as raised:
        encoder.transform(pictures)
    assert raised.value.row == 1
    assert set(threading.enumerate()) <= before


def test_an_array_given_is_written_to(encoder):
    expected = encoder.transform(TEXTS)
    out = np.full((5, 16), np.nan, dtype=np.float32)
    assert encoder.transform(TEXTS, out=out) is out
    assert_array_equal(out, expected)
    assert encoder.transform(iter(TEXTS), out=out[:]).base is not None
    assert_array_equal(out, expected)


@pytest.mark.parametrize("as_text", [True, False])
def test_a_file_is_written_whole(encoder, tmp_path, as_text):
    path = tmp_path / "vectors.npy"
    out = str(path) if as_text else path
    expected = encoder.transform(TEXTS)
    for items in (TEXTS, iter(TEXTS)):
        vectors = encoder.transform(items, out=out)
        assert isinstance(vectors, np.memmap)
        assert_array_equal(vectors, expected)
        assert_array_equal(np.load(path), expected)
    assert list(tmp_path.iterdir()) == [path]


def test_an_iterator_of_many_blocks(encoder, tmp_path):
    texts = [f"{TEXTS[i % 5]} {'a' * (i % 7)}" for i in range(700)]
    expected = encoder.transform(texts)
    vectors = encoder.transform(iter(texts), out=tmp_path / "vectors.npy")
    assert vectors.shape == (700, 16)
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    out = np.empty((700, 16), dtype=np.float32)
    encoder.transform(iter(texts), out=out)
    assert_array_equal(out, vectors)


def test_memory_stays_flat_over_an_iterator(tiny_bert, tmp_path):
    encoder = TextEncoder(tiny_bert, cache=False, batch_size=32)
    words = ("dog", "cat", "car", "bird", "road")

    def texts(n_texts):
        return (f"{words[i % 5]} {words[i // 5 % 5]}" for i in range(n_texts))

    encoder.transform(texts(10), out=tmp_path / "first.npy")
    peaks = []
    for n_texts in (4_000, 40_000):
        tracemalloc.start()
        encoder.transform(texts(n_texts), out=tmp_path / "vectors.npy")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # A quarter of what the further vectors alone would take; the rest of the process
    # leaves garbage behind that comes to less.
    assert peaks[1] - peaks[0] < 36_000 * 16 * 4 / 4


def test_equal_items_of_different_blocks_come_from_the_cache(tiny_bert, tmp_path):
    cache = EmbeddingCache(tmp_path / "cache")
    encoder = TextEncoder(tiny_bert, cache=cache, batch_size=1)
    encoder.transform(iter(TEXTS * 50), out=tmp_path / "vectors.npy")
    assert cache.info()["n_vectors"] == 4


def test_a_file_that_is_not_finished_does_not_appear(encoder, tmp_path):
    def texts():
        yield from ["a dog"] * 300
        raise KeyboardInterrupt

    (tmp_path / "vectors.npy").write_text("an earlier file")
    with pytest.raises(KeyboardInterrupt):
        encoder.transform(texts(), out=tmp_path / "vectors.npy")
    assert [each.name for each in tmp_path.iterdir()] == ["vectors.npy"]
    assert (tmp_path / "vectors.npy").read_text() == "an earlier file"


def test_rows_of_later_blocks_are_counted_from_the_first(
    tiny_vit, tiny_bert, pictures, tmp_path
):
    encoder = ImageEncoder(tiny_vit, cache=False, batch_size=1)
    out = np.empty((71, 16), dtype=np.float32)
    (tmp_path / "text.jpg").write_text("no picture")
    for bad in (Path("gone.jpg"), tmp_path / "text.jpg"):
        items = [pictures[0]] * 70 + [bad]
        with pytest.raises(PictureError, match=rf"Row 70: .*{bad.name}") as caught:
            encoder.transform(iter(items), out=out)
        assert caught.value.row == 70
        forgiving = clone(encoder).set_params(on_error="nan")
        with pytest.warns(UserWarning, match=rf"row 70: .*{bad.name}"):
            forgiving.transform(iter(items), out=out)
        assert np.isnan(out[70]).all()
    with pytest.raises(TypeError, match="Row 70: expected a picture"):
        encoder.transform(iter([*items[:70], None]), out=out)
    texts = TextEncoder(tiny_bert, cache=False, batch_size=1)
    with pytest.raises(TypeError, match="Row 70: expected a string"):
        texts.transform(iter(["a dog"] * 70 + [None]), out=out)
    with pytest.warns(UserWarning, match="row 70 the first"):
        texts.transform(iter(["a dog"] * 70 + ["dog " * 40]), out=out)


def test_an_iterator_is_left_to_transform(encoder):
    expected = encoder.transform(TEXTS)
    np.testing.assert_array_equal(encoder.fit_transform(iter(TEXTS)), expected)
    with pytest.raises(ValueError, match="at least one item"):
        encoder.fit_transform(iter([]))


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (np.zeros((4, 16), np.float32), ValueError, r"each of at least 5 items"),
        (np.zeros((6, 16), np.float32), ValueError, r"one row an item, 5 rows, got 6"),
        (np.zeros((5, 9), np.float32), ValueError, r"shape \(5, 16\), got \(5, 9\)"),
        (np.zeros(5, np.float32), ValueError, r"got \(5,\)"),
        (np.zeros((5, 16)), TypeError, "array of float32, got float64"),
        ([], TypeError, "the path of a .npy file, got list"),
    ],
)
def test_what_cannot_be_written_to(encoder, out, error, message):
    for items in (TEXTS, iter(TEXTS)):
        with pytest.raises(error, match=message):
            encoder.transform(items, out=out)


def test_no_items(encoder, tmp_path):
    for items in ([], iter([])):
        with pytest.raises(ValueError, match="at least one item"):
            encoder.transform(items, out=tmp_path / "vectors.npy")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def started(monkeypatch):
    """The processes that encoding starts."""
    processes = []

    class Spied(ProcessPoolExecutor):
        def __init__(self, *args, **kwargs):
            processes.append(self)
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(_pool, "ProcessPoolExecutor", Spied)
    return processes


def test_devices_share_the_work(tiny_bert, tmp_path, started):
    texts = [f"{TEXTS[i % 5]} {'a' * (i % 6)}" for i in range(60)]
    encoder = TextEncoder(tiny_bert, cache=EmbeddingCache(tmp_path), batch_size=1)
    expected = encoder.set_params(cache=False).transform(texts)
    encoder.set_params(devices=["cpu", "cpu"], cache=EmbeddingCache(tmp_path))
    np.testing.assert_allclose(encoder.transform(texts), expected, atol=1e-6)
    assert len(started) == 2
    # The second time there is nothing left to start processes for.
    np.testing.assert_allclose(encoder.transform(texts), expected, atol=1e-6)
    assert len(started) == 2


def test_devices_are_started_once_for_all_blocks(tiny_bert, tmp_path, started):
    letters = str.maketrans("01", "ab")
    texts = [f"{i:08b}".translate(letters) for i in range(3 * 64)]
    encoder = TextEncoder(tiny_bert, cache=False, batch_size=1)
    expected = encoder.transform(texts)
    encoder.set_params(devices=["cpu"])
    vectors = encoder.transform(iter(texts), out=tmp_path / "vectors.npy")
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    assert len(started) == 1


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        ([], "devices is empty. Name at least one, such as 'cuda:0', or pass None"),
        ([None], r"devices=\[None\] holds None. Name every device"),
        (["nonsense"], "device='nonsense' is no device of torch's"),
    ],
)
def test_bad_devices_are_named(tiny_bert, started, devices, message):
    encoder = TextEncoder(tiny_bert, cache=False, devices=devices)
    with pytest.raises(ValueError, match=message):
        encoder.transform(["a text"])
    assert started == []


def test_an_array_that_is_read_only_is_refused_before_encoding(tiny_bert):
    class Encoding(TextEncoder):
        def _encode(self, *arguments):
            raise AssertionError("encoded in vain")

    out = np.zeros((1, 16), dtype=np.float32)
    out.setflags(write=False)
    with pytest.raises(ValueError, match=r"out is read-only\. Give an array that can"):
        Encoding(tiny_bert, cache=False).transform(["a text"], out=out)


def test_an_error_on_a_device_is_raised_here(tiny_vit, pictures, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    encoder = ImageEncoder(tiny_vit, cache=False, devices=["cpu"])
    with pytest.raises(ValueError, match=r"Row 6: .*broken\.jpg"):
        encoder.transform([*pictures, broken])


def test_a_file_replaced_while_it_is_encoded_is_not_kept(tiny_vit, tmp_path):
    first, second = (Image.new("RGB", (40, 40), color) for color in ("red", "blue"))
    path = tmp_path / "picture.png"
    cache = EmbeddingCache(tmp_path / "cache")

    class Replacing(ImageEncoder):
        def _encode(self, *arguments):
            second.save(path)
            return super()._encode(*arguments)

    first.save(path)
    vectors = Replacing(tiny_vit, cache=cache).transform([path])
    assert cache.info()["n_vectors"] == 0
    encoder = ImageEncoder(tiny_vit, cache=cache)
    assert_array_equal(encoder.transform([path]), vectors)
    first.save(path)
    assert np.abs(encoder.transform([path]) - vectors).max() > 1e-3


def test_a_grid_search_encodes_each_item_once(tiny_bert, tmp_path):
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline

    encoded = []

    class Counting(TextEncoder):
        def _encode(self, model, items, rows, bar):
            encoded.extend(items)
            return super()._encode(model, items, rows, bar)

    texts = [f"{TEXTS[i % 5]} {'a' * (i % 8)}" for i in range(60)]
    y = np.random.default_rng(0).standard_normal((60, 3))
    pipeline = make_pipeline(Counting(tiny_bert, cache=tmp_path), Ridge())
    GridSearchCV(pipeline, {"ridge__alpha": [0.1, 1, 10]}, cv=4).fit(texts, y)
    assert sorted(encoded) == sorted(set(texts))
