"""Exports to onnxruntime and OpenVINO, against torch on the same items."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from skxmodal.encoders import ImageEncoder, TextEncoder, TorchvisionEncoder
from skxmodal.encoders import _backends as backends
from skxmodal.encoders._backends import ExportError, build_run, cosines

TEXTS = ["a dog", "a small red bird", "", "car", "dog"]
ENGINES = ("onnx", "openvino")


@pytest.fixture
def exports(tmp_path, monkeypatch) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv("SKXMODAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "exports"


def lowest_cosine(one, other):
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return (np.sum(one * other, axis=1) / norms).min()


@pytest.mark.parametrize("backend", ENGINES)
@pytest.mark.parametrize("checkpoint", ["tiny_bert", "tiny_clip"])
def test_texts(checkpoint, backend, request):
    folder = request.getfixturevalue(checkpoint)
    expected = TextEncoder(folder, cache=False).transform(TEXTS)
    own = TextEncoder(folder, cache=False, backend=backend, batch_size=2)
    assert lowest_cosine(own.transform(TEXTS), expected) > 0.9999


@pytest.mark.parametrize("backend", ENGINES)
@pytest.mark.parametrize(
    "checkpoint", ["tiny_vit", "tiny_dinov2", "tiny_clip", "tiny_resnet", "tiny_timm"]
)
def test_pictures(checkpoint, backend, pictures, request):
    folder = request.getfixturevalue(checkpoint)
    pictures = [*pictures, pictures[0][:, :20]]
    expected = ImageEncoder(folder, cache=False).transform(pictures)
    own = ImageEncoder(folder, cache=False, backend=backend, batch_size=4)
    assert lowest_cosine(own.transform(pictures), expected) > 0.9999


@pytest.mark.parametrize("backend", ENGINES)
def test_networks_of_torchvision(backend, pictures):
    settings = {"weights": None, "random_state": 0, "cache": False}
    expected = TorchvisionEncoder("resnet18", **settings).transform(pictures)
    own = TorchvisionEncoder("resnet18", **settings, backend=backend)
    assert lowest_cosine(own.transform(pictures), expected) > 0.9999


@pytest.mark.parametrize("backend", ENGINES)
def test_packaged_networks(backend, cat, cup):
    for encoder, items in (
        (TextEncoder(cache=False), TEXTS),
        (ImageEncoder(cache=False), [cat, cup]),
    ):
        expected = encoder.transform(items)
        given = encoder.set_params(backend=backend).transform(items)
        np.testing.assert_allclose(given, expected, atol=2e-5)


def test_an_export_is_made_once(exports, tiny_bert):
    own = TextEncoder(tiny_bert, cache=False, backend="onnx")
    first = own.transform(TEXTS)
    (folder,) = exports.iterdir()
    (file,) = folder.iterdir()
    written = file.stat().st_mtime_ns
    _forget_networks()
    again = TextEncoder(tiny_bert, cache=False, backend="onnx").transform(TEXTS)
    np.testing.assert_array_equal(first, again)
    assert list(exports.iterdir()) == [folder]
    assert file.stat().st_mtime_ns == written
    _forget_networks()
    # The other engine reads the same file, other poolings are other networks.
    TextEncoder(tiny_bert, cache=False, backend="openvino").transform(TEXTS)
    assert list(exports.iterdir()) == [folder]
    TextEncoder(tiny_bert, cache=False, backend="onnx", pooling="cls").transform(TEXTS)
    assert len(list(exports.iterdir())) == 2


@pytest.mark.parametrize("backend", ENGINES)
@pytest.mark.parametrize("part", [0.0, 0.5])
def test_an_export_cut_short_is_made_anew(exports, tiny_bert, backend, part):
    expected = TextEncoder(tiny_bert, cache=False, backend=backend).transform(TEXTS)
    (folder,) = exports.iterdir()
    file = folder / "model.onnx"
    whole = file.read_bytes()
    file.write_bytes(whole[: int(part * len(whole))])
    _forget_networks()
    again = TextEncoder(tiny_bert, cache=False, backend=backend).transform(TEXTS)
    np.testing.assert_allclose(again, expected, atol=1e-6)
    assert len(file.read_bytes()) == len(whole)


def test_a_fresh_export_that_fails_is_not_made_twice(exports, monkeypatch):
    made = []
    monkeypatch.setattr(backends, "_export_checked", lambda *_: made.append(1))
    with pytest.raises(Exception, match=r"model\.onnx"):
        build_run(
            nn.Identity(),
            [],
            backend="onnx",
            dtype="float32",
            identity="none",
            free_axes={},
        )
    assert made == [1]


def _forget_networks():
    import gc

    from skxmodal.encoders import _loaded

    _loaded._recent.clear()
    gc.collect()


_PRESS_CTRL_C = """
import ctypes, faulthandler, gc, os, signal, sys
faulthandler.enable()
signal.signal(signal.SIGINT, signal.default_int_handler)
from skxmodal import TextEncoder
from skxmodal.encoders import _loaded

class Stack(ctypes.Structure):
    _fields_ = [
        ("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)
    ]

def signal_stack():
    stack = Stack()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack)) == 0
    return stack.start, stack.size

before = signal_stack()
for pooling in ("mean", "max"):
    encoder = TextEncoder(cache=False, backend=sys.argv[1], pooling=pooling)
    encoder.transform(["a cat"])
    assert signal_stack() == before
del encoder
_loaded._recent.clear()
gc.collect()
assert signal_stack() == before
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    sys.stdout.write("interrupted")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks at a thread's signal stack")
@pytest.mark.parametrize("backend", ENGINES)
def test_ctrl_c_after_networks_came_and_went(backend):
    done = subprocess.run(
        [sys.executable, "-c", _PRESS_CTRL_C, backend], capture_output=True, text=True
    )
    assert done.stdout == "interrupted", (done.returncode, done.stderr)


_FORK = """
import os, sys
import numpy as np
from skxmodal import TextEncoder

texts = ["a cat", "a small dog"]
encoder = TextEncoder(cache=False, backend=sys.argv[1])
expected = encoder.transform(texts)
child = os.fork()
if not child:
    found = [each.transform(texts) for each in (encoder, TextEncoder(**vars(encoder)))]
    os._exit(not all(np.allclose(each, expected, atol=1e-6) for each in found))
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert np.array_equal(encoder.transform(texts), expected)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform can't fork")
@pytest.mark.parametrize("backend", ENGINES)
def test_networks_in_a_forked_process(backend):
    # Python 3.12 warns of forks beside threads, which are what is tried here.
    command = [sys.executable, "-W", "ignore", "-c", _FORK, backend]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr


def test_a_damaged_export_is_noticed(exports, tiny_bert, tiny_clip):
    TextEncoder(tiny_bert, cache=False, backend="onnx").transform(TEXTS)
    (folder,) = exports.iterdir()
    TextEncoder(tiny_bert, cache=False, backend="onnx", pooling="max").transform(TEXTS)
    (other,) = set(exports.iterdir()) - {folder}
    (folder / "model.onnx").write_bytes((other / "model.onnx").read_bytes())
    _forget_networks()
    with pytest.raises(
        ExportError, match=r"cosine down to -?0\.\d+ with the network's"
    ):
        TextEncoder(tiny_bert, cache=False, backend="onnx").transform(TEXTS)


def test_nothing_is_kept_where_caching_is_off(exports, tiny_bert, monkeypatch):
    monkeypatch.setenv("SKXMODAL_CACHE", "off")
    _forget_networks()
    vectors = TextEncoder(tiny_bert, backend="onnx").transform(TEXTS)
    expected = TextEncoder(tiny_bert).transform(TEXTS)
    assert lowest_cosine(vectors, expected) > 0.9999
    assert not exports.exists()


class _Branching(nn.Module):
    """Tracing sees one branch only, whichever the example takes."""

    def forward(self, pixel_values):
        if pixel_values.shape[0] > 1:
            return pixel_values.flatten(1)
        return pixel_values.flatten(1) ** 3 - 1


def test_an_export_that_differs_is_an_error(exports):
    rng = np.random.default_rng(0)
    batches = [
        {"pixel_values": rng.standard_normal((n, 3, 4, 4)).astype(np.float32)}
        for n in (2, 1)
    ]
    with pytest.raises(ExportError, match=r"traced: ExportError: .*backend='torch'"):
        build_run(
            _Branching().eval(),
            batches,
            backend="onnx",
            dtype="float32",
            identity="branching",
            free_axes={"pixel_values": (0,)},
        )
    assert list(exports.iterdir()) == []


def test_the_second_exporter_is_tried(exports, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("this exporter is gone")

    monkeypatch.setattr(backends, "_export_traced", fail)
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 5)).eval()

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network

        def forward(self, pixel_values):
            return self.inner(pixel_values)

    rng = np.random.default_rng(0)
    batches = [
        {"pixel_values": rng.standard_normal((n, 3, 2, 2)).astype(np.float32)}
        for n in (2, 1, 3)
    ]
    run = build_run(
        Network().eval(),
        batches,
        backend="onnx",
        dtype="float32",
        identity="linear",
        free_axes={"pixel_values": (0,)},
    )
    assert cosines(Network().eval(), run, batches).min() > 0.9999


def test_integers_of_8_bits_are_near_and_bfloat16_nearer():
    expected = TextEncoder(cache=False).transform(TEXTS)
    lowest = {}
    for backend, dtype in (("onnx", "int8"), ("openvino", "bfloat16")):
        own = TextEncoder(cache=False, backend=backend, dtype=dtype)
        lowest[dtype] = lowest_cosine(own.transform(TEXTS), expected)
    assert 0.97 < lowest["int8"] < 0.9999
    # Processors without it calculate in float32.
    assert lowest["bfloat16"] > 0.9995


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backend": "torch", "dtype": "int8"}, "dtype='int8'.*backend='onnx'"),
        ({"backend": "onnx", "dtype": "float16"}, "calculates in float32, int8"),
        ({"backend": "openvino", "dtype": "int8"}, "calculates in float32, bfloat16"),
        ({"backend": "onnx", "device": "cuda"}, "'onnx' runs on the CPU"),
        ({"backend": "tensorflow"}, "'backend' parameter of TextEncoder must be"),
    ],
)
def test_what_an_engine_cannot_do(tiny_bert, settings, message):
    with pytest.raises(ValueError, match=message):
        TextEncoder(tiny_bert, cache=False, **settings).transform(["a dog"])


@pytest.mark.parametrize(
    ("backend", "module"), [("onnx", "onnxruntime"), ("openvino",) * 2]
)
def test_a_missing_engine_says_what_to_install(tiny_bert, backend, module, monkeypatch):
    _forget_networks()
    monkeypatch.setitem(sys.modules, module, None)
    own = TextEncoder(tiny_bert, cache=False, backend=backend)
    with pytest.raises(ImportError, match=rf"pip install 'skxmodal\[{backend}\]'"):
        own.transform(["a dog"])


def test_engines_have_fingerprints_of_their_own(tiny_bert):
    prints = [
        TextEncoder(tiny_bert, backend=backend).fingerprint()
        for backend in ("torch", *ENGINES)
    ]
    assert prints[0] != prints[1] != prints[2] != prints[0]


def test_an_engine_has_torchs_number_of_threads(tiny_bert):
    n_threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        _forget_networks()
        vectors = TextEncoder(tiny_bert, cache=False, backend="onnx").transform(TEXTS)
        assert np.isfinite(vectors).all()
    finally:
        torch.set_num_threads(n_threads)
