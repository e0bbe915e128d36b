"""The packaged encoders, and a retriever over real pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

from skxmodal import CrossModalRetriever, ImageEncoder, LeastSquaresMapper, TextEncoder
from skxmodal.datasets import load_openmoji


@pytest.fixture(scope="session")
def minilm() -> TextEncoder:
    return TextEncoder("all-MiniLM-L6-v2", cache=False)


@pytest.fixture(scope="session")
def efficientnet() -> ImageEncoder:
    return ImageEncoder("efficientnet-lite0", cache=False)


@pytest.fixture(scope="session")
def emoji() -> tuple[list[str], list[Path]]:
    """Sixteen named pictures."""
    data = load_openmoji()
    return list(data.names[:160:10]), list(data.pictures[:160:10])


@pytest.fixture(scope="session")
def search(minilm, efficientnet, emoji) -> CrossModalRetriever:
    names, pictures = emoji
    return CrossModalRetriever(
        LeastSquaresMapper(alpha=0.1),
        query_encoder=minilm,
        target_encoder=efficientnet,
    ).fit(names, pictures)
