"""The verdict on two spaces, and how it reads."""

from __future__ import annotations

import json

import numpy as np
import pytest

from skxmodal.datasets import make_paired_embeddings
from skxmodal.inspection import (
    alignment_report,
    effective_rank,
    hubness_skewness,
    linear_cka,
    mutual_knn_overlap,
)


def pairs(noise=0.1, n=300, **kwargs):
    return make_paired_embeddings(n, noise=noise, random_state=0, **kwargs)


def test_figures_are_those_of_the_functions():
    X, y = pairs()
    report = alignment_report(X, y, n_neighbors=7, n_permutations=199, random_state=3)
    assert report.cka == linear_cka(X, y)
    expected = mutual_knn_overlap(X, y, 7, n_permutations=199, random_state=3)
    assert report.neighbors == expected
    assert report.x_effective_rank == effective_rank(X)
    assert report.y_effective_rank == effective_rank(y)
    centred = y - y.mean(axis=0)
    assert report.y_hubness == pytest.approx(hubness_skewness(centred, n_neighbors=7))
    assert (report.n_samples, report.n_given, report.n_groups) == (300, 300, 300)


@pytest.mark.parametrize(
    ("noise", "verdict"), [(0.1, "strong"), (0.5, "good"), (0.7, "weak")]
)
def test_verdict_falls_with_noise(noise, verdict):
    report = alignment_report(*pairs(noise, n=1000))
    assert report.verdict == verdict
    assert report.neighbors.p_value <= 0.01


def test_mispaired_spaces_do_not_align():
    X, y = pairs()
    verdicts = [
        alignment_report(X, np.random.default_rng(seed).permutation(y)).verdict
        for seed in range(20)
    ]
    # The test errs in one case of a hundred.
    assert verdicts.count("none") >= 18
    half = np.r_[y[:150], y[150:][::-1]]
    assert alignment_report(X, half).verdict in ("weak", "good")


def test_one_pair_a_picture_is_taken():
    X, y, groups = pairs(n_captions=5, return_groups=True)
    first = np.unique(groups, return_index=True)[1]
    order = np.random.default_rng(0).permutation(len(X))
    once = alignment_report(X[first], y[first])
    for report in (alignment_report(X, y, groups), alignment_report(X, y)):
        assert report.n_given == 1500
        assert report.n_groups == report.n_samples == 300
        assert report.cka == once.cka
        assert "Of 1500 pairs, 300 have a target of their own" in str(report)
    # Captions of one picture, counted as pairs of their own, are no evidence.
    assert alignment_report(X[order], y).verdict == "none"


def test_more_pairs_than_max_samples_are_drawn_from():
    X, y = pairs(n=400)
    report = alignment_report(X, y, max_samples=150, random_state=1)
    again = alignment_report(X, y, max_samples=150, random_state=1)
    assert report.n_samples == 150
    assert report.to_dict() == again.to_dict()
    assert "150 pairs were drawn of 400" in str(report)
    assert alignment_report(X, y, max_samples=None).n_samples == 400


def test_reads_as_text_dict_and_html():
    X, y = pairs()
    report = alignment_report(X, y)
    text, html = str(report), report._repr_html_()
    assert text.startswith("Alignment: strong\nThe two spaces agree strongly")
    for figure in (f"{report.cka:.3f}", f"{report.neighbors.overlap:.1%}", "p = 0.001"):
        assert figure in text
        assert figure in html
    assert html.count("<tr>") == html.count("</tr>") == 5
    figures = json.loads(json.dumps(report.to_dict()))
    assert figures["verdict"] == "strong"
    assert figures["p_value"] == 0.001


def test_notes():
    X, y = pairs(n=60)
    assert "60 pairs are few" in str(alignment_report(X, y))
    assert "csls" not in str(alignment_report(X, y))
    # Rows of very uneven length leave the mean near the short ones, not the long.
    rng = np.random.default_rng(0)
    uneven = rng.normal(size=(400, 50)) / rng.gamma(1, size=(400, 1))
    report = alignment_report(uneven, uneven)
    assert report.x_hubness > 1
    assert "csls" in str(report)


def test_float32_and_offsets():
    X, y = pairs()
    wide = alignment_report(X, y)
    narrow = alignment_report((X + 1).astype(np.float32), (y - 1).astype(np.float32))
    assert narrow.verdict == wide.verdict
    assert narrow.cka == pytest.approx(wide.cka, abs=1e-4)


def test_bad_input():
    X, y = pairs(n=50)
    with pytest.raises(ValueError, match="50 pairs of 10 pictures are too few"):
        alignment_report(X, y, groups=np.arange(50) // 5)
    with pytest.raises(ValueError, match="at least 99"):
        alignment_report(X, y, n_permutations=50)
    with pytest.raises(ValueError, match="max_samples"):
        alignment_report(X, y, max_samples=2)
    with pytest.raises(ValueError, match="All 50 rows of y are the same"):
        alignment_report(X, np.zeros_like(y))
    with pytest.raises(ValueError, match="Encode them first"):
        alignment_report(X, ["a dog"] * 50)
    with pytest.raises(ValueError, match="groups has 3 labels for 50 rows"):
        alignment_report(X, y, groups=[1, 2, 3])


def test_neighbors_that_are_no_number():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 3)), rng.normal(size=(30, 3))
    with pytest.raises(ValueError, match="n_neighbors must be an integer"):
        alignment_report(X, y, n_neighbors="a")
