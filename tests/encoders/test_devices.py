from __future__ import annotations

import warnings

import pytest
import torch

from skxmodal.encoders._devices import warn_of_emulation


@pytest.fixture
def processor(monkeypatch):
    """A processor with these instructions, whichever the tests run on."""

    def of(**capabilities):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)

    return of


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_an_emulated_type_warns(processor, dtype):
    processor(avx2=True, avx512_bf16=False, amx_fp16=False)
    with pytest.warns(UserWarning, match="Pass dtype='float32'"):
        warn_of_emulation(dtype, "cpu")


@pytest.mark.parametrize(
    ("dtype", "device"),
    [("float32", "cpu"), ("bfloat16", "cuda"), ("float16", "mps")],
)
def test_what_is_not_emulated_is_silent(processor, dtype, device):
    processor(avx512_bf16=False, amx_fp16=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_emulation(dtype, device)


def test_a_processor_that_has_it_is_silent(processor):
    processor(avx512_bf16=True, amx_fp16=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_emulation("bfloat16", "cpu")
        warn_of_emulation("float16", "cpu")
