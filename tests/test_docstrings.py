"""Every public docstring is numpydoc, complete, and shows an example."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil

import numpydoc.validate
import pytest

import skxmodal

# What numpydoc checks and the project does as scikit-learn does: the summary starts
# on the opening quotes' line (GL01), a returned value is named (RT02), and
# "Attributes" stands before "See Also" (GL07). An extended summary and a See Also
# section are written where they help (ES01, SA01, SA04). The check of the summary's
# first verb takes plural nouns for verbs (SS05).
NOT_ASKED = {"GL01", "GL02", "GL07", "RT02", "ES01", "SA01", "SA04", "SS05"}
# Methods are shown at work in the example of their class.
NOT_ASKED_OF_METHODS = NOT_ASKED | {"EX01"}
# What nobody makes by hand is shown by what returns or raises it, and a dataclass
# lists its fields as attributes (PR01).
NOT_ASKED_OF_RESULTS = NOT_ASKED | {"EX01", "PR01"}


def public_modules():
    """Return the package and the subpackages that offer names."""
    found = [skxmodal]
    for module in pkgutil.iter_modules(skxmodal.__path__, "skxmodal."):
        if not module.name.rpartition(".")[2].startswith("_"):
            found.append(importlib.import_module(module.name))
    return [module for module in found if hasattr(module, "__all__")]


def public_names():
    """Return the dotted names of all public classes and functions."""
    names = {}
    for module in public_modules():
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isroutine(value):
                # A name that the package offers itself is checked there alone.
                names.setdefault(id(value), f"{module.__name__}.{name}")
    return sorted(names.values())


def public_methods():
    """Return the dotted names of methods and properties written in skxmodal."""
    names = []
    for dotted in public_names():
        module, _, name = dotted.rpartition(".")
        owner = getattr(importlib.import_module(module), name)
        if not inspect.isclass(owner):
            continue
        for attribute, value in inspect.getmembers(owner):
            function = value.fget if isinstance(value, property) else value
            written_here = getattr(function, "__module__", "") or ""
            if not attribute.startswith("_") and written_here.startswith("skxmodal"):
                names.append(f"{dotted}.{attribute}")
    return names


def complaints(dotted, not_asked):
    return [
        f"{code}: {text}"
        for code, text in numpydoc.validate.validate(dotted)["errors"]
        if code not in not_asked
    ]


@pytest.mark.parametrize("module", public_modules(), ids=lambda m: m.__name__)
def test_public_modules_say_what_they_offer(module):
    assert module.__doc__, f"{module.__name__} has no docstring"
    assert sorted(set(module.__all__)) == sorted(module.__all__)


def is_result(dotted):
    module, _, name = dotted.rpartition(".")
    value = getattr(importlib.import_module(module), name)
    return inspect.isclass(value) and (
        dataclasses.is_dataclass(value)
        or inspect.isabstract(value)
        or issubclass(value, (Exception, tuple))
    )


@pytest.mark.parametrize("dotted", public_names())
def test_docstring(dotted):
    not_asked = NOT_ASKED_OF_RESULTS if is_result(dotted) else NOT_ASKED
    assert complaints(dotted, not_asked) == []


@pytest.mark.parametrize("dotted", public_methods())
def test_method_docstring(dotted):
    assert complaints(dotted, NOT_ASKED_OF_METHODS) == []
