"""Loaders of damaged and hostile files, in a child whose memory is limited."""

from __future__ import annotations

import subprocess
import sys

import pytest

_CHILD = r"""
import io, json, random, resource, struct, sys, warnings, zlib
from pathlib import Path
import numpy as np
from PIL import Image
from skxmodal import CrossModalRetriever
from skxmodal._pictures import PictureError, open_picture
from skxmodal.datasets import load_captioned_images, make_paired_embeddings
from skxmodal.persistence import PersistenceError, load, save

warnings.simplefilter("ignore")
kind, folder = sys.argv[1], Path(sys.argv[2])
draw = random.Random(0)
picture = io.BytesIO()
Image.effect_mandelbrot((64, 48), (-2, -1, 1, 1), 50).save(picture, "PNG")
(folder / "a.png").write_bytes(picture.getvalue())


def damaged(content):
    content = bytearray(content)
    for _ in range(draw.randrange(1, 9)):
        content[draw.randrange(len(content))] = draw.randrange(256)
    if draw.random() < 0.3:
        del content[draw.randrange(len(content)):]
    return bytes(content)


def chunk(name, data):
    return (
        struct.pack(">I", len(data))
        + name + data + struct.pack(">I", zlib.crc32(name + data))
    )


def png(width, height, *others):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(2**22), 9)
    return (
        b"\x89PNG\r\n\x1a\n"
        + b"".join(chunk(*one) for one in [(b"IHDR", header), *others])
        + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def pictures():
    # The limit is the user's own to set; the bound follows from it.
    Image.MAX_IMAGE_PIXELS = 1_000_000
    yield png(60_000, 60_000)
    yield png(2_000_000_000, 2_000_000_000)
    text = zlib.compress(bytes(2**28), 9)
    yield png(64, 64, (b"zTXt", b"a\0\0" + text))
    yield png(64, 64, (b"iCCP", b"a\0\0" + text))
    image = Image.open(io.BytesIO(picture.getvalue())).convert("RGB")
    for name in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "ICO"):
        buffer = io.BytesIO()
        image.save(buffer, name)
        for _ in range(60):
            yield damaged(buffer.getvalue())


def open_one(data):
    open_picture(data, row=0)


def captions():
    table = b"image,caption\n" + b"a.png,a cup\n" * 20
    images = [{"filename": "a.png", "sentences": [{"raw": "a cup"}]}] * 20
    karpathy = json.dumps({"images": images}).encode()
    yield "csv", b"image,caption\n" + b'a.png,"' + b"x" * 2**20
    yield "csv", b"," * 2**20
    yield "json", b"[" * 2**20
    yield "json", b'{"images": ' + b"9" * 2**20 + b"}"
    yield "json", b'{"images": [' + b'{"a":' * 2**17
    for _ in range(200):
        yield "csv", damaged(table)
        yield "json", damaged(karpathy)


def load_captions(one):
    ending, data = one
    path = folder / f"captions.{ending}"
    path.write_bytes(data)
    load_captioned_images(path, on_missing="warn")


def models():
    X, y = make_paired_embeddings(
        30, n_features_x=4, n_features_y=5, n_latent=3, random_state=0
    )
    model = save(CrossModalRetriever(hubness="csls").fit(X, y), folder / "model")
    files = {path: path.read_bytes() for path in sorted(model.iterdir())}
    tensors, manifest = files
    whole = json.loads(files[manifest])
    yield files | {tensors: struct.pack("<Q", 2**62) + files[tensors][8:]}
    yield files | {tensors: struct.pack("<Q", 2**31) + files[tensors][8:]}
    header = {"x": {"dtype": "F64", "shape": [2**40], "data_offsets": [0, 2**43]}}
    header = json.dumps(header).encode()
    yield files | {tensors: struct.pack("<Q", len(header)) + header}
    yield files | {manifest: b"[" * 2**20}
    yield files | {manifest: json.dumps(whole | {"arrays": [[]] * 2**16}).encode()}
    for _ in range(150):
        path = draw.choice([tensors, manifest])
        yield files | {path: damaged(files[path])}


def load_model(files):
    for path, content in files.items():
        path.write_bytes(content)
    load(folder / "model")


draws, loader = {
    "pictures": (pictures, open_one),
    "captions": (captions, load_captions),
    "models": (models, load_model),
}[kind]
documented = (PictureError, PersistenceError, ValueError, FileNotFoundError)
cases = list(draws())
# What is imported at the first use is there before anything is counted.
Image.init()
for case in cases[-10:]:
    try:
        loader(case)
    except documented:
        pass
with open("/proc/self/status") as status:
    (line,) = (line for line in status if line.startswith("VmData"))
bound = int(line.split()[1]) * 1024 + 64 * 2**20
resource.setrlimit(resource.RLIMIT_DATA, (bound, bound))
loaded = refused = 0
for case in cases:
    try:
        loader(case)
        loaded += 1
    except documented as error:
        # Refused for what it is, not for what memory there was.
        cause = error
        while cause is not None:
            assert not isinstance(cause, MemoryError), repr(case)[:80]
            cause = cause.__cause__ or cause.__context__
        assert str(error)
        refused += 1
sys.stdout.write(f"{loaded} {refused}")
sys.stdout.flush()
# The limit is there: this is beyond it.
np.ones(2**26)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA is Linux's")
@pytest.mark.parametrize(
    ("kind", "n_drawn"), [("pictures", 424), ("captions", 405), ("models", 155)]
)
def test_damaged_files_take_little_memory(tmp_path, kind, n_drawn):
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, kind, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=600,
        env={"OMP_NUM_THREADS": "1", "PATH": ""},
    )
    assert done.stdout, done.stderr[-2000:]
    loaded, refused = map(int, done.stdout.split())
    assert loaded + refused == n_drawn
    # Hostile files are refused; some damage is harmless.
    assert refused >= 5
    assert "MemoryError" in done.stderr.splitlines()[-1]
