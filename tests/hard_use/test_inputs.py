"""Every row of the table of inputs in the reference, with the packaged encoders."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
from numpy.testing import assert_array_equal
from PIL import Image

from skxmodal import (
    CCAMapper,
    CrossModalRetriever,
    GMLPMapper,
    ImageEncoder,
    LeastSquaresMapper,
    ProcrustesMapper,
    RelativeMapper,
)
from skxmodal.encoders import PictureError
from skxmodal.neighbors import top_k

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "inputs.md"


@dataclass
class Answer:
    """What is answered, and as what else it is answered."""

    given: Any
    same_as: Any = None
    warning: str | None = None


@dataclass
class Refusal:
    """What is refused, and with what words."""

    given: Any
    error: type[Exception]
    message: str


@contextlib.contextmanager
def expected_warning(message: str | None) -> Iterator[None]:
    if message is None:
        yield
        return
    with pytest.warns(UserWarning, match=message):
        yield


TEXTS = {
    "An empty list": Refusal([], ValueError, "at least one item, got no texts"),
    "One text": Answer(["a red heart"]),
    "One bare string": Refusal("a red heart", TypeError, r"Pass \[text\]"),
    "None among texts": Refusal(
        ["a", None], TypeError, "Row 1: expected a string, got NoneType.*Fill or drop"
    ),
    "NaN among texts": Refusal(
        ["a", float("nan")], TypeError, "Row 1: .* got float.*Fill or drop"
    ),
    "A number among texts": Refusal(
        ["a", "b", 3], TypeError, r"Row 2: .* got int .*Convert it with str\(\)"
    ),
    "Bytes among texts": Refusal(
        ["a", b"b"], TypeError, r"Row 1: .* got bytes .*decode\('utf-8'\)"
    ),
    "An empty string": Answer(["a", ""]),
    "A blank string": Answer(["a", " \n\t "], ["a", ""]),
    "A text of 100,000 characters": Answer(
        ["a", "heart " * 16_667], warning="1 of 2 texts, row 1 the first,.* were cut"
    ),
    "Right-to-left text": Answer(["قلب أحمر", "לב אדום"]),
    "Emoji": Answer(["❤️", "👩‍👩‍👧‍👦", "🇪🇺"]),
    "A lone surrogate": Answer(["a \ud83d heart"], ["a \ufffd heart"]),
    "NUL bytes": Answer(["a\0 heart\0"], ["a heart"]),
    "A pandas column of texts": Answer(pd.Series(["a", "b"]), ["a", "b"]),
    "A polars column of texts": Answer(pl.Series(["a", "b"]), ["a", "b"]),
    "A frame of one column of texts": Answer(
        pl.DataFrame({"text": ["a", "b"]}), ["a", "b"]
    ),
    "A frame of two columns of texts": Refusal(
        pd.DataFrame({"a": ["x"], "b": ["y"]}), ValueError, "got 2 columns. Select one"
    ),
    "A missing text in a column": Refusal(
        pl.Series(["a", None]), TypeError, "Row 1: .*Fill or drop missing texts"
    ),
}


@pytest.mark.parametrize("row", TEXTS)
def test_texts(row, minilm, search):
    case = TEXTS[row]
    if isinstance(case, Refusal):
        for encode in (minilm.transform, search.kneighbors):
            with pytest.raises(case.error, match=case.message):
                encode(case.given)
        return
    with expected_warning(case.warning):
        vectors = minilm.transform(case.given)
    assert vectors.shape == (len(case.given), 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    if case.same_as is not None:
        np.testing.assert_allclose(
            vectors, minilm.transform(case.same_as), rtol=0, atol=1e-6
        )
    with expected_warning(case.warning):
        distances, rows = search.kneighbors(case.given, n_neighbors=16)
    assert np.isfinite(distances).all()
    assert_array_equal(np.sort(rows, axis=1), [range(16)] * len(case.given))


@dataclass
class Files:
    """A folder of pictures, sound and not."""

    folder: Path
    sound: Path

    def write(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path

    def save(self, name: str, picture: Image.Image, **options: Any) -> Path:
        path = self.folder / name
        picture.save(path, **options)
        return path

    def link(self, name: str, target: Path) -> Path:
        path = self.folder / name
        path.symlink_to(target)
        return path

    def pipe(self, name: str) -> Path:
        path = self.folder / name
        os.mkfifo(path)
        return path


def bomb() -> bytes:
    """A PNG of 400 megapixels in some 50 kB."""
    side = 20_000

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    packed = zlib.compressobj(9)
    line = bytes(1 + side // 8)
    pixels = b"".join(packed.compress(line) for _ in range(side)) + packed.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", pixels)
        + chunk(b"IEND", b"")
    )


def ramp() -> Image.Image:
    """Every grey of 16 bits."""
    return Image.fromarray(np.arange(65536, dtype=np.uint16).reshape(256, 256))


def grey_ramp() -> np.ndarray:
    values = np.arange(65536).reshape(256, 256)
    return ((values + 128) // 257).astype(np.uint8)


def shades() -> Image.Image:
    """A picture with no more colours than a palette holds."""
    return Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).convert(
        "RGB"
    )


PICTURES: dict[str, Callable[[Files], Answer | Refusal]] = {
    "An empty list of pictures": lambda files: Refusal(
        [], ValueError, "at least one item, got no pictures"
    ),
    "One picture": lambda files: Answer([files.sound]),
    "One bare path": lambda files: Refusal(
        str(files.sound), TypeError, r"Pass \[picture\]"
    ),
    "None among pictures": lambda files: Refusal(
        [files.sound, None], TypeError, "Row 1: .* got NoneType .*Leave the row out"
    ),
    "A number among pictures": lambda files: Refusal(
        [files.sound, 3], TypeError, "Row 1: .* got int .*Leave the row out"
    ),
    "A file of zero bytes": lambda files: Refusal(
        [files.sound, files.write("a.png", b"")],
        PictureError,
        r"Row 1: the picture '.*a\.png' can't be decoded .*leave it out",
    ),
    "A truncated file": lambda files: Refusal(
        [files.sound, files.write("a.png", files.sound.read_bytes()[:-200])],
        PictureError,
        r"Row 1: the picture '.*a\.png' can't be decoded .*leave it out",
    ),
    "A file that is no picture": lambda files: Refusal(
        [files.write("a.jpg", b"<html></html>"), files.sound],
        PictureError,
        r"Row 0: the picture '.*a\.jpg' can't be decoded .*leave it out",
    ),
    "A mislabelled file": lambda files: Answer(
        [files.write("a.jpg", files.sound.read_bytes())], [files.sound]
    ),
    "An animated picture": lambda files: Answer(
        [
            files.save(
                "a.gif",
                Image.new("RGB", (8, 8), "red"),
                save_all=True,
                append_images=[Image.new("RGB", (8, 8), "blue")],
            )
        ],
        [Image.new("RGB", (8, 8), "red")],
    ),
    "A CMYK picture": lambda files: Answer(
        [files.save("a.tif", Image.new("CMYK", (8, 8), (0, 255, 255, 0)))],
        [Image.new("RGB", (8, 8), "red")],
    ),
    "A 16-bit picture": lambda files: Answer(
        [files.save("a.png", ramp())], [grey_ramp()]
    ),
    "A picture with a palette": lambda files: Answer(
        [files.save("a.png", shades().quantize(256))], [shades()]
    ),
    "A transparent picture": lambda files: Answer(
        [files.save("a.png", Image.new("RGBA", (8, 8), (255, 0, 0, 0)))],
        [Image.new("RGB", (8, 8), "white")],
    ),
    "A decompression bomb": lambda files: Refusal(
        [files.sound, files.write("a.png", bomb())],
        PictureError,
        r"Row 1: the picture '.*a\.png' has more pixels than twice "
        r"PIL\.Image\.MAX_IMAGE_PIXELS",
    ),
    "A symbolic link": lambda files: Answer(
        [files.link("a.png", files.sound)], [files.sound]
    ),
    "A loop of symbolic links": lambda files: Refusal(
        [files.sound, files.link("a.png", files.folder / "a.png")],
        PictureError,
        r"Row 1: the picture '.*a\.png' .*Give the path of an existing file",
    ),
    "A missing file": lambda files: Refusal(
        [files.sound, files.folder / "a.png"],
        PictureError,
        r"Row 1: the picture '.*a\.png' does not exist. Give the path of an existing",
    ),
    "A folder": lambda files: Refusal(
        [files.sound, files.folder], PictureError, "Row 1: .*is not a regular file"
    ),
    "A FIFO": lambda files: Refusal(
        [files.sound, files.pipe("a.png")],
        PictureError,
        r"Row 1: the picture '.*a\.png' is not a regular file",
    ),
    "A device": lambda files: Refusal(
        [files.sound, "/dev/zero"],
        PictureError,
        "Row 1: the picture '/dev/zero' is not a regular file",
    ),
    "A path with a NUL byte": lambda files: Refusal(
        [files.sound, "a\0.png"], PictureError, "Row 1: .*does not exist"
    ),
    "An address": lambda files: Refusal(
        [files.sound, "https://example.org/a.png"],
        PictureError,
        "Row 1: .*is an address, not a file. Download the picture first",
    ),
    "An array of pixels": lambda files: Answer([np.asarray(shades())], [shades()]),
    "An array of floats": lambda files: Refusal(
        [files.sound, np.zeros((8, 8, 3))], PictureError, "Row 1: .*dtype uint8"
    ),
    "An array with channels first": lambda files: Refusal(
        [files.sound, np.zeros((3, 8, 8), np.uint8)],
        PictureError,
        r"Row 1: .*transpose\(1, 2, 0\)",
    ),
    "A pandas column of paths": lambda files: Answer(
        pd.Series([str(files.sound)]), [files.sound]
    ),
    "A polars column of paths": lambda files: Answer(
        pl.Series([str(files.sound)]), [files.sound]
    ),
}


@pytest.fixture
def files(tmp_path, emoji):
    return Files(tmp_path, emoji[1][0])


@pytest.mark.timeout(60)
@pytest.mark.parametrize("row", PICTURES)
def test_pictures(row, files, efficientnet, search):
    case = PICTURES[row](files)
    if isinstance(case, Refusal):
        for encode in (efficientnet.transform, search.inverse_kneighbors):
            with pytest.raises(case.error, match=case.message):
                encode(case.given)
        if case.error is PictureError:
            keeps_other_rows(case.given)
        return
    vectors = efficientnet.transform(case.given)
    assert vectors.shape == (len(case.given), 1280)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    if case.same_as is not None:
        np.testing.assert_allclose(
            vectors, efficientnet.transform(case.same_as), rtol=0, atol=1e-5
        )
    _, rows = search.inverse_kneighbors(case.given, n_neighbors=16)
    assert_array_equal(np.sort(rows, axis=1), [range(16)] * len(case.given))


def keeps_other_rows(pictures: list[Any]) -> None:
    encoder = ImageEncoder("efficientnet-lite0", cache=False, on_error="nan")
    with pytest.warns(UserWarning, match="1 of 2 pictures can't be read"):
        vectors = encoder.transform(pictures)
    assert np.isfinite(vectors).all(axis=1).sum() == 1


@pytest.mark.parametrize("row", ["An unreadable file"])
def test_a_file_that_may_not_be_read(row, efficientnet, emoji):
    # Not pytest's folder, which nobody but its owner may enter.
    with tempfile.TemporaryDirectory() as folder:
        sound, secret = (
            Path(shutil.copy(emoji[1][0], f"{folder}/{name}.png")) for name in "ab"
        )
        efficientnet.transform([sound])
        Path(folder).chmod(0o755)
        secret.chmod(0)
        with (
            as_nobody(),
            pytest.raises(PictureError, match=r"Row 1: .*b\.png.*Permission.*leave"),
        ):
            efficientnet.transform([sound, secret])


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Root may read everything, so for a while it acts as the user nobody."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


N, D_X, D_Y = 40, 6, 9


def rows_of(n_columns: int) -> np.ndarray:
    """Rows whose every value halves, integers and bool hold exactly."""
    rng = np.random.default_rng(n_columns)
    return rng.integers(0, 2, (N, n_columns)).astype(np.float64)


def with_value(rows: np.ndarray, value: Any) -> np.ndarray:
    changed = rows.astype(object if value is None else np.float64)
    changed[3, 1] = value
    return changed


def with_object(rows: np.ndarray, value: Any) -> np.ndarray:
    changed = rows.astype(object)
    changed[3, 1] = value
    return changed


def read_only(rows: np.ndarray) -> np.ndarray:
    rows = rows.copy()
    rows.flags.writeable = False
    return rows


NOT_FINITE = "1 of the 40 rows of {side} hold such a number, row 3 the first. Leave"
OF_OTHER_KIND = "{side} has dtype .*numbers of at most 64 bits"
# From sound rows to what is given, and the words it is refused with, if it is.
ARRAYS: dict[str, tuple[Callable[[np.ndarray], Any], str | None]] = {
    "NaN": (lambda rows: with_value(rows, np.nan), NOT_FINITE),
    "Infinity": (lambda rows: with_value(rows, np.inf), NOT_FINITE),
    "None among numbers": (lambda rows: with_value(rows, None), NOT_FINITE),
    "Words among numbers": (
        lambda rows: np.where(np.arange(N)[:, None] == 3, "word", rows.astype(object)),
        "Row 3 of {side} is the first that holds something other than numbers. Give",
    ),
    "Numbers as objects": (lambda rows: rows.astype(object), None),
    "A sparse array": (
        scipy.sparse.csr_array,
        r"dense data is required. Use .*toarray",
    ),
    "Complex numbers": (
        lambda rows: rows + 0j,
        r"{side} has dtype complex128. Give real columns, such as numpy\.hstack",
    ),
    "A complex number among objects": (
        lambda rows: with_object(rows, 1j),
        "Row 3 of {side} is the first that holds something other than numbers. Give",
    ),
    "Numbers written as text": (lambda rows: rows.astype(str), OF_OTHER_KIND),
    "Text among objects": (
        lambda rows: with_object(rows, "1"),
        "Row 3 of {side} is the first that holds something other than numbers. Give",
    ),
    "Dates": (lambda rows: rows.astype("M8[s]"), OF_OTHER_KIND),
    "Durations": (lambda rows: rows.astype("m8[s]"), OF_OTHER_KIND),
    "A frame with a column of dates": (
        lambda rows: pd.DataFrame(rows).astype({1: "M8[s]"}).rename(columns=str),
        "Row 0 of {side} is the first that holds something other than numbers. Give",
    ),
    "Numbers of more than 64 bits": (
        lambda rows: rows.astype(np.longdouble),
        OF_OTHER_KIND,
    ),
    "An integer beyond float64": (
        lambda rows: with_object(rows, 10**400),
        "Row 3 of {side} is the first that holds something other than numbers. Give",
    ),
    "A masked value": (
        lambda rows: np.ma.masked_array(rows, rows != with_value(rows, 9)),
        "{side} has masked values in 1 of 40 rows, the first in row 3. Leave",
    ),
    "A mask of nothing": (lambda rows: np.ma.masked_array(rows), None),
    "Bools": (lambda rows: rows.astype(bool), None),
    "Integers": (lambda rows: rows.astype(np.int16), None),
    "Halves": (lambda rows: rows.astype(np.float16), None),
    "A non-contiguous array": (lambda rows: np.repeat(rows, 2, axis=1)[:, ::2], None),
    "A read-only array": (read_only, None),
    "A big-endian array": (lambda rows: rows.astype(">f8"), None),
    "A list of lists": (lambda rows: rows.tolist(), None),
    "A pandas frame": (lambda rows: pd.DataFrame(rows).rename(columns=str), None),
    "A polars frame": (pl.DataFrame, None),
    "A missing value in a frame": (
        lambda rows: pl.DataFrame(with_value(rows, None).tolist(), orient="row"),
        NOT_FINITE,
    ),
    "A 3-D array": (
        lambda rows: rows[:, :, np.newaxis],
        "(as|got) .*{side}.*shape|{side} holds raw items.*embeddings of shape",
    ),
    "No rows": (
        lambda rows: rows[:0],
        "Found array with 0 sample|inconsistent numbers of samples",
    ),
}
MAPPERS = {
    "least squares": LeastSquaresMapper(alpha=0.1),
    "Procrustes": ProcrustesMapper(),
    "CCA": CCAMapper(alpha=0.1),
    "relative": RelativeMapper(n_anchors=20, random_state=0),
    "gMLP": GMLPMapper(max_epochs=1, random_state=0),
}
X, Y = rows_of(D_X), rows_of(D_Y)
WEIGHTS = np.where(np.arange(40) == 3, 0.0, 1.0)


@pytest.fixture(scope="module")
def fitted():
    return {name: mapper.fit(X, Y) for name, mapper in MAPPERS.items()}


@pytest.fixture(scope="module")
def fitted_search():
    return CrossModalRetriever(LeastSquaresMapper(alpha=0.1)).fit(X, Y)


@pytest.mark.filterwarnings("ignore:X .*feature names:UserWarning")
@pytest.mark.parametrize("mapper", MAPPERS)
@pytest.mark.parametrize("row", ARRAYS)
def test_arrays_given_to_mappers(row, mapper, fitted):
    change, refused = ARRAYS[row]
    fresh = type(MAPPERS[mapper])(**MAPPERS[mapper].get_params(deep=False))
    by_side = {
        "X": [lambda x: fresh.fit(x, Y), fitted[mapper].transform],
        "y": [lambda y: fresh.fit(X, y), fitted[mapper].transform_target],
    }
    for side, sound in (("X", X), ("y", Y)):
        given = change(sound)
        if refused is not None:
            for method in by_side[side]:
                refuses(method, given, refused.format(side=side))
            continue
        by_side[side][0](given)
        for method in ("transform", "transform_target"):
            rows = X if method == "transform" else Y
            np.testing.assert_allclose(
                getattr(fresh, method)(rows),
                getattr(fitted[mapper], method)(rows),
                rtol=0,
                atol=1e-5 if mapper == "gMLP" else 1e-12,
            )
        np.testing.assert_allclose(
            by_side[side][1](given), by_side[side][1](sound), rtol=0, atol=1e-3
        )


@pytest.mark.filterwarnings("ignore:X .*feature names:UserWarning")
@pytest.mark.parametrize("row", ARRAYS)
def test_arrays_given_to_the_retriever(row, fitted_search):
    change, refused = ARRAYS[row]
    fresh = CrossModalRetriever(LeastSquaresMapper(alpha=0.1))
    by_side = {
        "X": [
            lambda x: fresh.fit(x, Y).kneighbors(X),
            fitted_search.kneighbors,
        ],
        "y": [
            lambda y: fresh.fit(X, y).kneighbors(X),
            fitted_search.inverse_kneighbors,
            lambda y: fresh.fit(X, Y).index(y).kneighbors(X),
            lambda y: fresh.fit(X, Y).add(y).kneighbors(X),
        ],
    }
    for side, sound in (("X", X), ("y", Y)):
        for method in by_side[side]:
            if refused is not None:
                refuses(method, change(sound), refused.format(side=side))
                continue
            for ours, expected in zip(
                method(change(sound)), method(sound), strict=True
            ):
                np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12)


def refuses(method: Callable[[Any], Any], given: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        method(given)
    assert re.search(message, str(caught.value), re.DOTALL), str(caught.value)


VECTORS = {
    "NaN": "1 of 40 rows, the first in row 3",
    "Infinity": "1 of 40 rows, the first in row 3",
    "None among numbers": r"dtype object.*astype\(float\)",
    "Words among numbers": r"dtype object.*astype\(float\)",
    "Numbers as objects": r"dtype object.*astype\(float\)",
    "A sparse array": "toarray",
    "Complex numbers": r"real numbers, got dtype complex128",
    "A complex number among objects": r"dtype object.*astype\(float\)",
    "Numbers written as text": "real numbers, got dtype <U",
    "Text among objects": r"dtype object.*astype\(float\)",
    "Dates": "real numbers, got dtype datetime64",
    "Durations": "real numbers, got dtype timedelta64",
    "A frame with a column of dates": "real numbers, got dtype object",
    "Numbers of more than 64 bits": "queries has dtype .*at most 64 bits",
    "An integer beyond float64": r"dtype object.*astype\(float\)",
    "A masked value": "queries has masked values in 1 of 40 rows, the first in row 3",
    "A missing value in a frame": "dtype object|1 of 40 rows",
    "A 3-D array": r"shape \(n, d\).*got shape \(40, 6, 1\)",
    "No rows": r"at least one row.*got shape \(0, 6\)",
}


@pytest.mark.parametrize("row", ARRAYS)
def test_arrays_given_to_the_search(row):
    given = ARRAYS[row][0](X)
    if row in VECTORS:
        refuses(lambda rows: top_k(rows, X, 3), given, VECTORS[row])
        return
    for ours, expected in zip(top_k(given, X, 3), top_k(X, X, 3), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-6)


@pytest.mark.parametrize("k", [True, np.True_])
def test_true_is_no_number_of_neighbours(k, fitted_search):
    for search in (
        lambda: top_k(X, X, k),
        lambda: fitted_search.kneighbors(X, n_neighbors=k),
        lambda: fitted_search.inverse_kneighbors(Y, n_neighbors=k),
    ):
        with pytest.raises(ValueError, match=r"must be an integer .*got .*True"):
            search()


def shapes(estimator: Any) -> dict[str, tuple[Callable[[], Any], str | None]]:
    """Rows about the shapes of both sides together."""
    return {
        "A 1-D array of queries": (
            lambda: estimator.fit(X[:, 0], Y),
            "Expected 2D array, got 1D array instead.*Reshape your data",
        ),
        "A 1-D array of targets": (lambda: estimator.fit(X, Y[:, 0]), None),
        "Sides of different lengths": (
            lambda: estimator.fit(X, Y[:-1]),
            r"X has 40 rows, y 39\. Row i of y must be the partner of row i of X",
        ),
        "Other columns after fit": (
            lambda: estimator.fit(X, Y).transform(Y),
            "X has 9 features, but .* is expecting 6 features",
        ),
        "Other columns of targets after fit": (
            lambda: estimator.fit(X, Y).transform_target(X),
            "y has 6 (columns|features), but .* was fitted with",
        ),
        "Two dtypes": (lambda: estimator.fit(X.astype(np.float32), Y), None),
        "NaN in a pair of weight 0": (
            lambda: estimator.fit(with_value(X, np.nan), Y, sample_weight=WEIGHTS),
            "Input X contains NaN.*row 3 the first",
        ),
    }


@pytest.mark.parametrize("estimator", [*MAPPERS, "retriever"])
@pytest.mark.parametrize("row", shapes(None))
def test_shapes(row, estimator):
    fresh = (
        CrossModalRetriever(LeastSquaresMapper(alpha=0.1))
        if estimator == "retriever"
        else MAPPERS[estimator].__sklearn_clone__()
    )
    call, refused = shapes(fresh)[row]
    if refused is None:
        call()
        assert np.isfinite(fresh.transform(X)).all()
    else:
        refuses(lambda _: call(), None, refused)


def test_the_page_has_these_rows():
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    listed = [line.split("|")[1].strip() for line in lines if line.startswith("| ")]
    headers = [name for name in listed if name in ("Given", "---")]
    listed = [name for name in listed if name not in headers]
    tested = [*TEXTS, *PICTURES, "An unreadable file", *ARRAYS, *shapes(None)]
    assert sorted(listed) == sorted(tested)
