"""Every kind of value that a model may consist of, there and back."""

import functools
import math
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal

from skxmodal.persistence import PersistenceError, load, register, save


@register
class Thing:
    """A class of somebody's own, with whatever attributes."""

    def __init__(self, **attributes):
        self.__dict__.update(attributes)


def there_and_back(value, folder):
    return load(save(Thing(value=value), folder / "model")).value


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -(10**30),
        0.1,
        5e-324,
        -0.0,
        math.inf,
        -math.inf,
        "text",
        "كلب 🐕 \x00 \udcff",
        b"\x00\xff",
        Path("a folder/b.png"),
        [],
        (),
        {},
        set(),
        [1, [2, (3.5, None)], {"a": {1, 2}, 3: "b", (4, 5): b"c"}],
        frozenset({"a", "b"}),
        list(range(100)),
        ["a", "", "é\ud800"] * 20,
        [b"a", b"", b"\xff"] * 20,
        [Path("a"), Path("b/c")] * 20,
        tuple("abc" * 20),
        np.dtype("float32"),
        np.float32,
        np.int64,
    ],
    ids=lambda value: type(value).__name__,
)
def test_plain_values(value, tmp_path):
    again = there_and_back(value, tmp_path)
    assert type(again) is type(value)
    assert again == value
    if value == 0:
        assert math.copysign(1, again) == math.copysign(1, value)


def test_not_a_number(tmp_path):
    assert math.isnan(there_and_back(math.nan, tmp_path))


@pytest.mark.parametrize("scalar", [np.float32(0.1), np.int16(-3), np.bool_(True)])
def test_numpy_scalars(scalar, tmp_path):
    again = there_and_back(scalar, tmp_path)
    assert type(again) is type(scalar)
    assert again == scalar


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(2, 0, 1),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(10)[::-3],
        np.array(5, dtype=np.int8),
        np.empty((0, 3), dtype=np.uint16),
        np.array([np.nan, np.inf, -0.0], dtype=np.float16),
        np.array([True, False]),
        np.array([2**64 - 1], dtype=np.uint64),
        np.arange(3, dtype=">f4"),
        np.array(["a", "bcd", "é"]),
        np.array([["a", None], [3, Path("x")]], dtype=object),
        np.array([f"photo {i}" for i in range(50)], dtype=object),
        np.array(["2026-01-01", "NaT"], dtype="datetime64[ms]"),
        np.array([3], dtype="timedelta64[h]"),
    ],
    ids=lambda array: f"{array.dtype.str}{array.shape}",
)
def test_arrays(array, tmp_path):
    again = there_and_back(array, tmp_path)
    assert again.dtype == array.dtype.newbyteorder("=")
    assert_array_equal(again, array)
    assert again.flags.writeable


def test_strings_of_numpy_become_plain_ones(tmp_path):
    array = np.array([f"photo {i}" for i in range(50)])
    again = there_and_back([array[0], list(array)], tmp_path)
    assert again == ["photo 0", array.tolist()]
    assert {type(item) for item in again[1]} == {str}
    assert (tmp_path / "model" / "manifest.json").stat().st_size < 2000


def test_order_in_memory_is_kept(tmp_path):
    array = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    assert there_and_back(array, tmp_path).flags.f_contiguous
    assert there_and_back(array.copy("C"), tmp_path).flags.c_contiguous


def test_an_array_held_twice_is_stored_once(tmp_path):
    array = np.arange(1000.0)
    again = there_and_back([array, {"same": array}], tmp_path)
    assert again[0] is again[1]["same"]
    (file,) = (tmp_path / "model").glob("*.safetensors")
    assert file.stat().st_size < 1.5 * array.nbytes


def test_random_state_goes_on_where_it_was(tmp_path):
    random_state = np.random.RandomState(3)
    random_state.standard_normal(7)
    again = there_and_back(random_state, tmp_path)
    assert_array_equal(again.standard_normal(5), random_state.standard_normal(5))


def test_the_safetensors_library_reads_the_arrays(tmp_path):
    thing = Thing(a=np.arange(3, dtype=np.int8), b=np.ones((2, 2), dtype=np.float16))
    save(thing, tmp_path / "model")
    (file,) = (tmp_path / "model").glob("*.safetensors")
    arrays = safetensors.numpy.load_file(file)
    assert_array_equal(arrays["a"], thing.a)
    assert_array_equal(arrays["b"], thing.b)


def cycle():
    value = []
    value.append([value])
    return value


def deep():
    value = []
    for _ in range(5000):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda: 0, r"value is builtins\.function"),
        (functools.partial(print), r"value is functools\.partial"),
        (object(), r"value is builtins\.object"),
        ({"a": [1, math.sin]}, r"value\['a'\]\[1\] is builtins\.builtin_function"),
        (np.array([1j]), "value is an array of complex128"),
        (np.zeros(2, dtype=[("a", "f4")]), "value is an array of"),
        (np.ma.masked_array([1.0], [True]), r"value is numpy\.ma"),
        (np.dtype([("a", "f4")]), r"value is numpy\.dtype"),
        (cycle(), r"value\[0\]\[0\] contains itself"),
        (deep(), r"value.* is nested too deeply"),
    ],
    ids=[
        "function",
        "partial",
        "object",
        "nested",
        "complex",
        "record",
        "mask",
        "record type",
        "cycle",
        "deep",
    ],
)
def test_what_can_not_be_stored_is_named(value, message, tmp_path):
    with pytest.raises(PersistenceError, match=message):
        save(Thing(value=value), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_class_that_is_not_registered(tmp_path):
    class Unknown:
        pass

    with pytest.raises(
        PersistenceError, match=r"^The estimator is .*Unknown, .*Register a class of"
    ):
        save(Unknown(), tmp_path / "model")


@pytest.mark.parametrize("value", [3, "text", None, [1], np.arange(3)])
def test_what_is_no_estimator(value, tmp_path):
    with pytest.raises(PersistenceError, match="is no estimator"):
        save(value, tmp_path / "model")


def test_a_class_that_only_shares_a_name(tmp_path):
    impostor = type("ProcrustesMapper", (), {})
    with pytest.raises(PersistenceError, match="can't hold"):
        save(impostor(), tmp_path / "model")


def test_register_refuses_a_name_that_is_taken():
    with pytest.raises(ValueError, match="'ProcrustesMapper' is registered already"):
        register(type("ProcrustesMapper", (), {}))
    mine = Thing

    def define():
        class Thing:
            pass

        return Thing

    with pytest.raises(ValueError, match="'Thing' is registered already"):
        register(define())
    assert register(mine) is mine
    elsewhere = type("Thing", (), {"__module__": "another_package"})
    with pytest.raises(ValueError, match="'Thing' is registered already"):
        register(elsewhere)


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(alphabet=st.characters())
    | st.binary()
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers(), inner)
        | st.lists(st.text(), min_size=17, max_size=20)
        | st.sets(st.integers())
    ),
    max_leaves=15,
)


@settings(max_examples=60, deadline=None)
@given(value=values)
def test_any_nesting(tmp_path_factory, value):
    again = there_and_back(value, tmp_path_factory.getbasetemp())
    assert again == value
    assert repr(again) == repr(value) or isinstance(value, set | list | tuple | dict)


@settings(max_examples=60, deadline=None)
@given(
    array=hnp.arrays(
        hnp.scalar_dtypes().filter(lambda t: t.kind in "biuf" and t.itemsize <= 8),
        hnp.array_shapes(min_dims=0, min_side=0),
    )
)
def test_any_array(tmp_path_factory, array):
    again = there_and_back(array, tmp_path_factory.getbasetemp())
    assert again.dtype == array.dtype.newbyteorder("=")
    assert_array_equal(again, array)
