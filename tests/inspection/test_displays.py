"""Displays: what they compute, and that their pictures stay as they were seen.

The pictures in ``baselines`` were looked at. To make them anew after a change, run
the tests with SKXMODAL_NEW_BASELINES=1 and look at each.
"""

from __future__ import annotations

import os
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.testing.compare import compare_images
from PIL import Image
from scipy.stats import pearsonr
from sklearn.base import clone
from sklearn.model_selection import GroupShuffleSplit
from sklearn.preprocessing import FunctionTransformer

from skxmodal import (
    CCAMapper,
    CrossModalRetriever,
    LeastSquaresMapper,
    ProcrustesMapper,
    RecallScorer,
)
from skxmodal.inspection import (
    AlignmentSpectrumDisplay,
    HubHistogramDisplay,
    PairsCurveDisplay,
    PictureHitsDisplay,
    RecallCurveDisplay,
)
from skxmodal.metrics import hit_rate_at_k, retrieval_ranks
from skxmodal.neighbors import CSLS, k_occurrence

BASELINES = Path(__file__).parent / "baselines"
# Root of the mean squared difference of the pixels, of 255.
TOLERANCE = 12.0
N_PICTURES, N_CAPTIONS = 240, 2


@pytest.fixture(autouse=True)
def plain_style():
    mpl.use("Agg")
    with mpl.rc_context({**mpl.rcParamsDefault, "backend": "Agg"}):
        yield
    plt.close("all")


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(0)
    latent = rng.standard_normal((N_PICTURES, 8))
    pictures = latent @ rng.standard_normal((8, 24))
    pictures += rng.standard_normal(pictures.shape)
    groups = np.repeat(np.arange(N_PICTURES), N_CAPTIONS)
    captions = latent[groups] @ rng.standard_normal((8, 16))
    captions += rng.standard_normal(captions.shape)
    return captions, pictures[groups], groups


@pytest.fixture(scope="module")
def split(pairs):
    _, _, groups = pairs
    return groups < 160, groups >= 160


@pytest.fixture(scope="module")
def retriever(pairs, split):
    X, y, _ = pairs
    search = CrossModalRetriever(ProcrustesMapper(), hubness=CSLS(k=5))
    return search.fit(X[split[0]], y[split[0]])


def assert_looks_as_before(figure, name, tmp_path):
    drawn = tmp_path / f"{name}.png"
    figure.savefig(drawn, dpi=60)
    baseline = BASELINES / f"{name}.png"
    if os.environ.get("SKXMODAL_NEW_BASELINES"):
        BASELINES.mkdir(exist_ok=True)
        baseline.write_bytes(drawn.read_bytes())
    problem = compare_images(str(baseline), str(drawn), tol=TOLERANCE)
    assert problem is None, problem


def test_recall_curve_holds_the_hit_rates(pairs, split, retriever, tmp_path):
    X, y, _ = pairs
    X, y = X[split[1]], y[split[1]]
    display = RecallCurveDisplay.from_estimator(
        retriever, X, y, ks=[1, 5, 20], random_state=0
    )
    ranks = retrieval_ranks(retriever, X, y)
    for curve, (direction, side) in zip(display.curves, ranks.items(), strict=True):
        assert curve.direction == direction
        expected = [hit_rate_at_k(side, k) for k in (1, 5, 20)]
        np.testing.assert_array_equal(curve.values, expected)
        assert (curve.low <= curve.values).all()
        assert (curve.values <= curve.high).all()
        assert curve.hubness == "CSLS, inductive"
    assert display.curves[0].chance[0] == pytest.approx(1 / 80)
    assert_looks_as_before(display.figure_, "recall_curve", tmp_path)


def test_recall_curve_of_ranks_and_on_given_axes(pairs, split, retriever):
    X, y, _ = pairs
    ranks = retrieval_ranks(retriever, X[split[1]], y[split[1]])
    _, ax = plt.subplots()
    display = RecallCurveDisplay.from_predictions(
        ranks.query_to_target, name="mine", random_state=0, ax=ax
    )
    assert display.ax_ is ax
    assert display.ks[0] == 1
    assert display.ks[-1] == 80
    assert display.lines_[0].get_label() == "mine, query to target (CSLS, inductive)"
    assert display.plot() is display
    assert display.ax_ is not ax


def test_hub_histogram_counts_both_scores(pairs, split, retriever, tmp_path):
    X, y, _ = pairs
    X, y = X[split[1]], y[split[1]]
    display = HubHistogramDisplay.from_estimator(retriever, X, y, k=5)
    queries, targets = (
        side / np.linalg.norm(side, axis=1, keepdims=True)
        for side in (retriever.transform(X), retriever.transform_target(y))
    )
    expected = k_occurrence(queries, targets[::N_CAPTIONS], 5)
    np.testing.assert_array_equal(display.occurrences["cosine"], expected)
    assert display.occurrences["CSLS, inductive"].sum() == 5 * len(X)
    assert display.skewness_["CSLS, inductive"] < display.skewness_["cosine"]
    assert display.ax_.dataLim.xmax >= expected.max()
    assert_looks_as_before(display.figure_, "hub_histogram", tmp_path)


def test_hub_histogram_of_the_other_direction_and_of_counts(pairs, split):
    X, y, _ = pairs
    mapper = LeastSquaresMapper().fit(X[split[0]], y[split[0]])
    display = HubHistogramDisplay.from_estimator(
        mapper, X[split[1]], y[split[1]], direction="target_to_query"
    )
    assert list(display.occurrences) == ["cosine"]
    assert display.occurrences["cosine"].sum() == 10 * 80
    flat = HubHistogramDisplay.from_predictions([3, 3, 3, 3], k=3)
    assert flat.skewness_ == {"scores": 0.0}


def test_spectrum_holds_the_correlations(pairs, split, tmp_path):
    X, y, _ = pairs
    mapper = CCAMapper().fit(X[split[0]], y[split[0]])
    X, y = X[split[1]], y[split[1]]
    display = AlignmentSpectrumDisplay.from_estimator(mapper, X, y)
    left, right = mapper.transform(X), mapper.transform_target(y)
    expected = sorted(
        float(pearsonr(*columns).statistic)
        for columns in zip(left.T, right.T, strict=True)
    )
    np.testing.assert_allclose(display.correlations, expected[::-1], atol=1e-12)
    assert 4 <= display.n_shared_ <= 12
    assert_looks_as_before(display.figure_, "alignment_spectrum", tmp_path)


def test_spectrum_of_noise_stays_within_chance():
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((2, 500, 200))
    display = AlignmentSpectrumDisplay.from_predictions(left, right)
    assert 0.01 < (np.abs(display.correlations) > display.chance_).mean() < 0.1
    constant = AlignmentSpectrumDisplay.from_predictions(0 * left, right)
    assert not constant.correlations.any()
    with pytest.raises(ValueError, match="same shape"):
        AlignmentSpectrumDisplay.from_predictions(left, right[:, 1:])


def test_pairs_curve_holds_scores_of_one_gallery_a_split(pairs, tmp_path):
    X, y, groups = pairs
    display = PairsCurveDisplay.from_estimator(
        {"least squares": LeastSquaresMapper(), "Procrustes": ProcrustesMapper()},
        X,
        y,
        groups,
        sizes=[20, 60, 180],
        n_splits=3,
        random_state=0,
    )
    rng = np.random.RandomState(0)
    splitter = GroupShuffleSplit(3, test_size=0.25, random_state=rng)
    for split, (train, test) in enumerate(splitter.split(X, groups=groups)):
        fitted = ProcrustesMapper().fit(X[train], y[train])
        assert display.scores["Procrustes"][-1, split] == RecallScorer(k=10)(
            fitted, X[test], y[test]
        )
    means = display.scores["Procrustes"].mean(axis=1)
    assert means[0] < means[-1]
    assert_looks_as_before(display.figure_, "pairs_curve", tmp_path)


def test_pairs_curve_refuses_sizes_beyond_the_training_pictures(pairs):
    X, y, _ = pairs
    with pytest.raises(ValueError, match="sizes must be from 2 to 180"):
        PairsCurveDisplay.from_estimator(
            LeastSquaresMapper(), X, y, sizes=[20, 200], n_splits=1
        )
    display = PairsCurveDisplay.from_estimator(
        LeastSquaresMapper(), X, y, n_splits=1, random_state=0
    )
    assert display.n_pictures[0] == 20
    assert display.n_pictures[-1] == 180


@pytest.fixture(scope="module")
def coloured(tmp_path_factory):
    """A retriever of single-coloured pictures, by path."""
    folder = tmp_path_factory.mktemp("colours")
    hues = np.linspace(0, 255, 24, endpoint=False).astype(np.uint8)
    paths = []
    for hue in hues:
        pixels = np.full((40, 60, 3), (hue, 200, 220), dtype=np.uint8)
        paths.append(str(folder / f"hue {hue} <b>&.png"))
        Image.fromarray(pixels, mode="HSV").convert("RGB").save(paths[-1])

    def circle(values):
        angles = np.asarray(values, dtype=float) * 2 * np.pi / 256
        return np.c_[np.cos(angles), np.sin(angles)]

    search = CrossModalRetriever(
        query_encoder=FunctionTransformer(
            lambda names: circle([int(name.split()[1]) for name in names])
        ),
        target_encoder=FunctionTransformer(
            lambda files: circle([int(Path(file).name.split()[1]) for file in files])
        ),
    )
    return search.fit([f"hue {hue}" for hue in hues], paths), paths


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
def test_picture_hits_frame_the_right_picture(coloured, tmp_path):
    search, paths = coloured
    display = PictureHitsDisplay.from_estimator(
        search, ["hue 0", "hue 106"], [paths[0], paths[5]], n_neighbors=4
    )
    assert display.pictures[0][0] == paths[0]
    assert display.correct.tolist() == [[True, False, False, False], [False] * 4]
    assert display.axes_.shape == (2, 4)
    assert_looks_as_before(display.figure_, "picture_hits", tmp_path)


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
def test_picture_hits_in_a_notebook_escape_names(coloured):
    search, paths = coloured
    display = PictureHitsDisplay.from_estimator(search, ["hue 0"], [paths[0]])
    block = display._repr_html_()
    assert block.count("<img") == 5
    assert "<b>" not in block
    assert "&lt;b&gt;&amp;" in block
    assert "(correct)" in block


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
def test_picture_hits_without_answers_frame_nothing(coloured):
    search, paths = coloured
    display = PictureHitsDisplay.from_estimator(search, ["hue 0"], n_neighbors=3)
    assert display.correct is None
    assert "(correct)" not in display._repr_html_()
    assert display._repr_html_().count("<small>") == 3
    given = PictureHitsDisplay.from_predictions(["any"], [paths[:2]])
    assert given._repr_html_().count("<img") == 2
    assert "<small>" not in given._repr_html_()


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
def test_picture_hits_ask_the_encoder_what_is_the_same_picture(coloured):
    search, paths = coloured

    class Encoder(FunctionTransformer):
        def content_keys(self, files):
            # All hues below 128 are one picture.
            return [bytes([int(Path(file).name.split()[1]) < 128]) for file in files]

    search = clone(search)
    search.set_params(target_encoder=Encoder(search.target_encoder.func))
    search.fit([f"hue {Path(path).name.split()[1]}" for path in paths], paths)
    display = PictureHitsDisplay.from_estimator(
        search, ["hue 0"], [paths[3]], pictures=[paths[0], paths[-1]], n_neighbors=1
    )
    assert display.correct.tolist() == [[True]]


def test_picture_hits_need_pictures(pairs, retriever):
    X, _, _ = pairs
    with pytest.raises(ValueError, match="The gallery holds vectors"):
        PictureHitsDisplay.from_estimator(retriever, X[:1])
    with pytest.raises(ValueError, match="same number of pictures"):
        PictureHitsDisplay.from_predictions(["a", "b"], [[np.zeros((2, 2, 3))], []])
