"""Imports of torchvision and transformers, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_torchvision_imports_beside_this_torch_and_runs():
    code = """
from skxmodal._torchvision import import_torchvision
torchvision = import_torchvision()
assert import_torchvision() is torchvision
import torch
torch.manual_seed(0)
network = torchvision.models.resnet18(weights=None).eval()
print(tuple(network(torch.zeros(1, 3, 32, 32)).shape))
"""
    assert run(code) == "(1, 1000)"


def test_transformers_imports_with_what_needs_torchvision():
    code = """
from skxmodal._torchvision import import_transformers
transformers = import_transformers()
from transformers import CLIPImageProcessor, ViTModel
print(CLIPImageProcessor.__name__, ViTModel.__name__)
"""
    assert run(code).startswith("CLIPImageProcessor")


def test_another_error_of_torchvision_is_not_hidden():
    code = """
import sys
class Broken:
    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            raise RuntimeError("something else is broken")
sys.meta_path.insert(0, Broken())
from skxmodal._torchvision import import_torchvision
try:
    import_torchvision()
except RuntimeError as error:
    print(error)
"""
    assert run(code) == "something else is broken"


@pytest.mark.parametrize("function", ["import_torchvision", "import_transformers"])
def test_without_torch_the_extra_is_named(function):
    code = f"""
import sys
from skxmodal._torchvision import {function}
sys.modules["torch"] = None
try:
    {function}(purpose="Looking at pictures")
except ImportError as error:
    print(error)
"""
    message = run(code)
    assert message.startswith("Looking at pictures needs the package 'torch'")
    assert "pip install 'skxmodal[encoders]'" in message
