"""Models on disk that are damaged, hostile, half written or being replaced."""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import reduce
from operator import getitem

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from skxmodal import (
    LeastSquaresMapper,
    ProcrustesMapper,
    RelativeMapper,
    TextEncoder,
)
from skxmodal.datasets import make_paired_embeddings
from skxmodal.persistence import PersistenceError, load, save
from skxmodal.persistence._model_folder import _checksum

X, Y = make_paired_embeddings(60, random_state=0)


@pytest.fixture
def model(tmp_path):
    return save(ProcrustesMapper().fit(X, Y), tmp_path / "model")


def arrays_of(model):
    (path,) = model.glob("arrays-*.safetensors")
    return path


def edit(model, change):
    """Change the manifest as somebody would who means harm: checksum and all."""
    path = model / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    manifest["checksum"] = _checksum(manifest)
    path.write_text(json.dumps(manifest))


def replace_arrays(model, change):
    """Change the arrays as somebody would who means harm: checksums and all."""
    path = arrays_of(model)
    arrays = safetensors.numpy.load_file(path)
    change(arrays)
    safetensors.numpy.save_file(arrays, path)
    content = path.read_bytes()
    digest = hashlib.blake2b(content, digest_size=32).hexdigest()
    edit(
        model, lambda found: found["arrays"].update(bytes=len(content), blake2b=digest)
    )


def test_nothing_is_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no model at"):
        load(tmp_path / "model")


def test_a_folder_without_a_manifest(tmp_path):
    with pytest.raises(PersistenceError, match=r"manifest\.json is missing"):
        load(tmp_path)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "3", '{"format": "other"}', "[" * 100_000, "\xff"]
)
def test_a_manifest_that_is_none(model, content):
    (model / "manifest.json").write_text(content, encoding="latin-1")
    with pytest.raises(PersistenceError, match=r"manifest\.json is"):
        load(model)


def test_a_newer_format(model):
    edit(model, lambda manifest: manifest.update(format_version=2))
    with pytest.raises(PersistenceError, match=r"format 2, .*up to format 1\. Upgrade"):
        load(model)


def test_a_parameter_changed_by_hand(model):
    path = model / "manifest.json"
    path.write_text(path.read_text().replace('"scaling": false', '"scaling": true'))
    with pytest.raises(PersistenceError, match="checksum does not fit"):
        load(model)


def test_arrays_are_missing(model):
    arrays_of(model).unlink()
    with pytest.raises(PersistenceError, match=r"file of arrays .* is missing"):
        load(model)


def test_one_array_is_missing(model):
    edit(
        model, lambda manifest: manifest["model"]["fitted"]["x_mean_"].update(name="x")
    )
    with pytest.raises(PersistenceError, match="The array 'x' is missing"):
        load(model)


def test_arrays_are_truncated(model):
    path = arrays_of(model)
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(PersistenceError, match=f"{len(content) - 1} bytes of"):
        load(model)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_flipped_bit_is_noticed_or_harmless(tmp_path_factory, data):
    model = tmp_path_factory.getbasetemp() / "flipped"
    fitted = ProcrustesMapper().fit(X, Y)
    if not model.exists():
        save(fitted, model)
    path = data.draw(st.sampled_from(sorted(model.iterdir())))
    content = path.read_bytes()
    flipped = bytearray(content)
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    flipped[bit // 8] ^= 1 << bit % 8
    path.write_bytes(flipped)
    try:
        again = load(model)
    except PersistenceError:
        pass
    else:
        # One kind of white space for another.
        assert path.name == "manifest.json"
        assert content[bit // 8 : bit // 8 + 1].isspace()
        assert_array_equal(again.transform(X), fitted.transform(X))
    finally:
        path.write_bytes(content)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_truncation_is_noticed(tmp_path_factory, data):
    model = tmp_path_factory.getbasetemp() / "truncated"
    if not model.exists():
        save(ProcrustesMapper().fit(X, Y), model)
    path = data.draw(st.sampled_from(sorted(model.iterdir())))
    content = path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    try:
        with pytest.raises(PersistenceError):
            load(model)
    finally:
        path.write_bytes(content)


@pytest.mark.parametrize(
    "name",
    ["Popen", "os.system", "Pipeline", "builtins.eval", "StandardScaler", "", 3, None],
)
def test_classes_of_others_are_not_made(model, name):
    edit(model, lambda manifest: manifest["model"].update({"class": name}))
    with pytest.raises(PersistenceError, match=r"which is none of skxmodal's"):
        load(model)


@pytest.mark.parametrize("part", ["params", "fitted"])
@pytest.mark.parametrize("name", ["__class__", "__dict__", "a b", "", "__reduce__"])
def test_attributes_that_are_none(model, part, name):
    edit(model, lambda manifest: manifest["model"][part].update({name: 1}))
    with pytest.raises(PersistenceError, match="is no attribute's name"):
        load(model)


@pytest.mark.parametrize("part", ["params", "fitted"])
def test_methods_are_not_replaced(model, part):
    edit(model, lambda manifest: manifest["model"][part].update(transform="x"))
    with pytest.raises(PersistenceError, match="would replace a method"):
        load(model)


def test_parameters_are_those_of_the_class(model):
    edit(model, lambda manifest: manifest["model"]["params"].update(alpha=1))
    with pytest.raises(PersistenceError, match="has no parameter 'alpha'"):
        load(model)
    edit(model, lambda manifest: manifest["model"].update(params={}))
    with pytest.raises(PersistenceError, match=r"lacks the parameter '\w+'\. Was it"):
        load(model)


@pytest.mark.parametrize(
    "name",
    ["../other", "/etc/passwd", "sub/x.safetensors", ".", "a\0b", "a" * 5000]
    + ["\ud800", "arrays-1.safetensors", "arrays-0123456789abcdef.safetensors\n"],
)
def test_arrays_are_read_from_the_folder_alone(model, name):
    edit(model, lambda manifest: manifest["arrays"].update(file=name))
    with pytest.raises(PersistenceError, match="must be a file in the same folder"):
        load(model)


def test_a_pipe_in_place_of_the_arrays_does_not_hang(model):
    path = arrays_of(model)
    path.unlink()
    os.mkfifo(path)
    edit(model, lambda manifest: manifest["arrays"].update(bytes=0))
    with pytest.raises(PersistenceError, match="must be a file in the same folder"):
        load(model)


@pytest.mark.parametrize(
    "change",
    [
        lambda lengths: lengths + 1,
        lambda lengths: np.r_[lengths[:-2], lengths[-2:] + [99, -99]],
        lambda lengths: lengths.astype(np.float64),
    ],
    ids=["too long", "negative", "floats"],
)
def test_lengths_of_texts_that_do_not_fit(tmp_path, change):
    mapper = ProcrustesMapper().fit(X, Y)
    mapper.words_ = [f"word {number}" for number in range(5000)]
    model = save(mapper, tmp_path / "model")
    assert load(model).words_ == mapper.words_

    def change_lengths(arrays):
        arrays["words_.lengths"] = change(arrays["words_.lengths"])

    replace_arrays(model, change_lengths)
    with pytest.raises(PersistenceError, match="lengths of a list do not fit"):
        load(model)


def metadata_node(manifest):
    ((_, node),) = manifest["metadata"]["items"]
    return node


def test_a_fingerprint_of_what_has_none(model):
    edit(model, lambda manifest: manifest["model"].update(fingerprint=None))
    with pytest.raises(PersistenceError, match="ProcrustesMapper has no fingerprint"):
        load(model)


@pytest.mark.parametrize("kind", ["dtype", "scalar_type", "times"])
@pytest.mark.parametrize(
    "value", ["(1,,2)f8", "(" * 2000 + "f8", "(3,)<f8", "f8,f4", "", 3, None, "O,O"]
)
def test_types_of_numbers_that_are_none(model, kind, value):
    node = {"type": kind, "value": value, "dtype": value}
    node["array"] = {"type": "array", "name": "x_mean_"}
    edit(model, lambda manifest: manifest.update(metadata=node))
    with pytest.raises(PersistenceError, match="metadata can't be read as"):
        load(model)


@pytest.mark.parametrize("pos", [-1, -(2**30), 625, 2**31, 2**70, 1.5, True, None, "1"])
def test_a_position_outside_of_a_random_state(tmp_path, pos):
    mapper = RelativeMapper(random_state=np.random.RandomState(0))
    model = save(mapper, tmp_path / "model")

    def change(manifest):
        node = manifest["model"]["params"]["random_state"]["state"]
        state = dict(node["items"])
        for item in state["state"]["items"]:
            if item[0] == "pos":
                item[1] = pos

    edit(model, change)
    with pytest.raises(PersistenceError, match="random_state is no state of a Random"):
        load(model)


@pytest.mark.parametrize(
    "change", [lambda key: key[:10], lambda key: key.astype(np.int64)]
)
def test_another_key_of_a_random_state(tmp_path, change):
    mapper = RelativeMapper(random_state=np.random.RandomState(0))
    model = save(mapper, tmp_path / "model")

    def change_key(arrays):
        (name,) = arrays
        arrays[name] = change(arrays[name])

    replace_arrays(model, change_key)
    with pytest.raises(PersistenceError, match="random_state is no state of a Random"):
        load(model)


def test_other_generators_are_refused_when_saved(tmp_path):
    mapper = RelativeMapper(random_state=np.random.RandomState(np.random.PCG64(0)))
    with pytest.raises(PersistenceError, match="random_state draws from PCG64"):
        save(mapper, tmp_path / "model")


def test_a_small_file_does_not_become_a_large_array_of_texts(tmp_path):
    names = np.array(["abc"] * 30)
    model = save(ProcrustesMapper(), tmp_path / "model", metadata={"names": names})

    def one_long(arrays):
        for name in arrays:
            if name.endswith(".text"):
                arrays[name] = np.full(200_000, 120, dtype=np.uint8)
            else:
                arrays[name] = np.r_[200_000, np.zeros(199_999, dtype=np.int64)]

    replace_arrays(model, one_long)
    edit(model, lambda manifest: metadata_node(manifest).update(shape=[200_000]))
    with pytest.raises(PersistenceError, match="texts, each padded to 200000"):
        load(model)
    # Nor is such an array saved, which could not be loaded.
    names = np.array(["x" * 20_000] + [""] * 20_000)
    with pytest.raises(PersistenceError, match=r"Make it an array of objects"):
        save(ProcrustesMapper(), model, metadata={"names": names})


def test_a_list_named_many_times_is_decoded_once_and_within_a_bound(tmp_path):
    words = [f"word {number}" for number in range(30)]
    model = save(ProcrustesMapper(), tmp_path / "model", metadata={"words": words})

    def repeat(manifest):
        node = metadata_node(manifest)
        node.update(items=[node.copy()] * 3)

    edit(model, repeat)
    again = load(model, return_metadata=True)[1]["words"]
    assert again == [words] * 3
    assert again[0] is not again[1]
    assert again[0][0] is again[1][0]

    def many(arrays):
        for name in arrays:
            dtype = np.uint8 if name.endswith(".text") else np.int64
            arrays[name] = np.ones(100_000, dtype=dtype)

    replace_arrays(model, many)
    edit(
        model, lambda m: metadata_node(m).update(items=metadata_node(m)["items"] * 7000)
    )
    with pytest.raises(PersistenceError, match="many times as large as its files"):
        load(model)


def test_a_cache_is_made_where_the_loader_says(tmp_path, tiny_bert):
    encoder = TextEncoder(str(tiny_bert), cache=tmp_path / "mine")
    model = save(encoder, tmp_path / "model")
    assert str(tmp_path / "mine") not in (model / "manifest.json").read_text()
    assert load(model).cache is None
    foreign = {"type": "path", "value": str(tmp_path / "foreign")}
    edit(model, lambda manifest: manifest["model"]["params"].update(cache=foreign))
    assert load(model).cache is None
    for kept in (True, False):
        assert load(save(TextEncoder(str(tiny_bert), cache=kept), model)).cache is kept


def test_nothing_is_asked_for_when_a_model_names_one_of_the_hub(
    tmp_path, tiny_bert, monkeypatch
):
    model = save(TextEncoder(str(tiny_bert)), tmp_path / "model")
    edit(
        model,
        lambda manifest: manifest["model"]["params"].update(model="attacker/x"),
    )
    asked = []
    monkeypatch.setattr(socket.socket, "connect", lambda _, place: asked.append(place))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with pytest.raises(PersistenceError, match="get it first: `hf download attacker/x"):
        load(model)
    assert asked == []
    assert load(model, check_encoders=False).model == "attacker/x"


def test_a_folder_of_our_own_leftovers_is_used(tmp_path):
    (tmp_path / "arrays-1.safetensors").write_text("x")
    save(ProcrustesMapper().fit(X, Y), tmp_path)
    assert_array_equal(
        load(tmp_path).predict(X), ProcrustesMapper().fit(X, Y).predict(X)
    )


json_like = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["object", "array", "text", "ProcrustesMapper", "coef_", "<f8"])
    | st.sampled_from(
        ["TextEncoder", "x_mean_", "(1,,2)f8", "a\0b", "\ud800", "<M8[D]"]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "class", "params", "fitted", "items", "name", "array", "value"]
                + ["content", "lengths", "shape", "state", "dtype", "hex", "order"]
                + ["fingerprint", "random_state", "pos", "key", "bit_generator"]
            ),
            inner,
            max_size=4,
        )
        | st.fixed_dictionaries(
            {
                "type": st.sampled_from(
                    ["array", "bytes", "dict", "dtype", "float", "frozenset", "list"]
                    + [
                        "object",
                        "object_array",
                        "path",
                        "random_state",
                        "scalar",
                        "set",
                    ]
                    + ["scalar_type", "text_array", "times", "tuple"]
                ),
                "items": inner,
                "value": inner,
                "array": inner,
                "state": inner,
            }
        )
    ),
    max_leaves=12,
)


@settings(max_examples=5 * settings().max_examples, deadline=None)
@given(
    node=json_like,
    place=st.sampled_from(
        [("model",), ("metadata",), ("arrays",), ("arrays", "file"), ("versions",)]
        + [
            ("model", "fingerprint"),
            ("model", "params"),
            ("model", "params", "scaling"),
        ]
        + [("model", "fitted", "x_mean_"), ("model", "class"), ("format_version",)]
    ),
)
def test_any_manifest_loads_or_is_refused(tmp_path_factory, node, place):
    model = tmp_path_factory.getbasetemp() / "odd"
    if not model.exists():
        save(ProcrustesMapper().fit(X, Y), model)
    content = (model / "manifest.json").read_text()
    try:
        edit(
            model,
            lambda manifest: reduce(getitem, place[:-1], manifest).update(
                {place[-1]: node}
            ),
        )
        try:
            load(model)
        except PersistenceError as error:
            message = str(error)
            assert str(model) in message
    finally:
        (model / "manifest.json").write_text(content)


def test_saving_again_replaces_and_leaves_nothing(model):
    for alpha in (0.1, 0.2, 0.3):
        save(LeastSquaresMapper(alpha=alpha).fit(X, Y), model)
        assert load(model).alpha == alpha
        assert len(list(model.iterdir())) == 2


def test_old_leftovers_are_removed_and_young_ones_are_not(model):
    for name, age in (("arrays-1.safetensors", 9000), ("arrays-2.safetensors", 0)):
        (model / name).write_text("x")
        os.utime(model / name, (time.time() - age,) * 2)
    save(LeastSquaresMapper(), model)
    assert not (model / "arrays-1.safetensors").exists()
    assert (model / "arrays-2.safetensors").exists()


def test_other_files_are_not_overwritten(tmp_path):
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(PersistenceError, match="holds other files"):
        save(LeastSquaresMapper(), tmp_path)
    with pytest.raises(PersistenceError, match="is a file; a model is saved as"):
        save(LeastSquaresMapper(), tmp_path / "thesis.txt")
    (tmp_path / "manifest.json").write_text('{"name": "a web app"}')
    with pytest.raises(PersistenceError, match="not that of a skxmodal model") as info:
        save(LeastSquaresMapper(), tmp_path)
    assert str(tmp_path) in str(info.value)
    assert "Give a new folder" in str(info.value)
    assert (tmp_path / "thesis.txt").read_text() == "x"


@pytest.mark.parametrize(
    "n_synced", range(4), ids=["arrays", "folder", "manifest", "folder again"]
)
def test_a_disk_that_is_full_leaves_the_old_model(model, monkeypatch, n_synced):
    before = load(model).transform(X)
    fitted = LeastSquaresMapper().fit(X, Y)
    synced = []
    sync = os.fsync

    def full(file):
        if len(synced) == n_synced:
            raise OSError(28, "No space left on device")
        synced.append(file)
        sync(file)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save(fitted, model)
    monkeypatch.undo()
    # Once the manifest is replaced it is the new model that must be whole.
    expected = before if n_synced < 3 else fitted.transform(X)
    assert_array_equal(load(model).transform(X), expected)
    assert len(list(model.iterdir())) == 2 + (n_synced == 3)


_SAVE_FOR_EVER = """
import itertools, sys
import numpy as np
from skxmodal.mappers import LeastSquaresMapper
from skxmodal.persistence import save
for i in itertools.count():
    mapper = LeastSquaresMapper(alpha=float(i))
    mapper.weights_ = np.full((400, 500), float(i))
    save(mapper, sys.argv[1])
    print(i, flush=True)
"""


def test_a_save_that_is_killed_leaves_one_model_whole(tmp_path):
    model = tmp_path / "model"
    for delay in (0.0, 0.01, 0.025, 0.05):
        with subprocess.Popen(
            [sys.executable, "-c", _SAVE_FOR_EVER, model],
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            first = process.stdout.readline()
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            last = int((first + process.stdout.read()).split()[-1])
        again = load(model)
        assert again.alpha in (last, last + 1)
        assert (again.weights_ == again.alpha).all()


def test_readers_always_find_a_whole_model_while_writers_replace_it(tmp_path):
    model = tmp_path / "model"
    mappers = [LeastSquaresMapper(alpha=float(i)) for i in range(2)]
    for i, mapper in enumerate(mappers):
        mapper.weights_ = np.full((100, 100), float(i))
    save(mappers[0], model)
    failures = []
    finished = threading.Event()

    def write(mapper):
        for _ in range(25):
            save(mapper, model)

    def read():
        while not finished.is_set():
            try:
                again = load(model)
                assert (again.weights_ == again.alpha).all()
            except Exception as error:
                failures.append(error)
                return

    readers = [threading.Thread(target=read) for _ in range(2)]
    writers = [threading.Thread(target=write, args=(m,)) for m in mappers]
    for thread in readers + writers:
        thread.start()
    for thread in writers:
        thread.join()
    finished.set()
    for thread in readers:
        thread.join()
    assert failures == []
