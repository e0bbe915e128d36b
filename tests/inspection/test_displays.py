"""Displays: what they compute, and that their pictures stay as they were seen.

The pictures in ``baselines`` were looked at. To make them anew after a change, run
the tests with SKXMODAL_NEW_BASELINES=1 and look at each.
"""

from __future__ import annotations

import os
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.testing.compare import compare_images
from PIL import Image
from scipy.stats import pearsonr
from sklearn.base import clone
from sklearn.model_selection import GroupShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skxmodal import (
    CCAMapper,
    CrossModalRetriever,
    LeastSquaresMapper,
    ProcrustesMapper,
    RecallScorer,
    RetrievalScorer,
)
from skxmodal.inspection import (
    AlignmentSpectrumDisplay,
    HubHistogramDisplay,
    PairsCurveDisplay,
    PictureHitsDisplay,
    RecallCurveDisplay,
)
from skxmodal.metrics import Ranks, hit_rate_at_k, retrieval_ranks
from skxmodal.neighbors import CSLS, k_occurrence

BASELINES = Path(__file__).parent / "baselines"
# Root of the mean squared difference of the pixels, of 255: under the version of
# matplotlib that drew the baselines, and under others, which set text otherwise.
TOLERANCE, TOLERANCE_OF_OTHERS = 1.0, 12.0
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
    with Image.open(baseline) as picture:
        same = f"version{mpl.__version__}," in picture.info["Software"]
    tolerance = TOLERANCE if same else TOLERANCE_OF_OTHERS
    problem = compare_images(str(baseline), str(drawn), tol=tolerance)
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
    # Two curves with their bands and chance levels, and one line for the legend.
    assert len(display.ax_.lines) == 5
    assert len(display.ax_.collections) == 2
    np.testing.assert_array_equal(
        display.lines_[1].get_ydata(), 100 * display.curves[1].values
    )
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
    assert len(display.ax_.patches) == 2
    assert display.ax_.lines[0].get_xdata()[0] == pytest.approx(expected.mean())
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
    assert display.n_pictures == 80
    np.testing.assert_array_equal(display.line_.get_ydata(), display.correlations)
    [band] = display.ax_.patches
    edges = band.get_y(), band.get_y() + band.get_height()
    assert edges == pytest.approx((-display.chance_, display.chance_))
    assert "on 160 pairs of 80 pictures" in display.ax_.get_title()
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
    np.testing.assert_array_equal(display.lines_[1].get_ydata(), means)
    assert len(display.ax_.lines) == len(display.ax_.collections) == 2
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
    for row, place in np.ndindex(2, 4):
        side = display.axes_[row, place].spines["left"]
        right = display.correct[row, place]
        assert (side.get_linewidth() == 3) == right
        assert (side.get_edgecolor() == mpl.colors.to_rgba("#2a9d3f")) == right
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


def test_recall_curve_of_bare_ranks():
    display = RecallCurveDisplay.from_predictions(Ranks.of([1, 2, 3]), random_state=0)
    assert display.ax_.get_title() == "Recall in galleries of unknown numbers of items"
    ranks = Ranks.of([1, 2], gallery_size=4, direction="target_to_query")
    display = RecallCurveDisplay.from_predictions(ranks, random_state=0)
    assert display.lines_[0].get_label() == "target to query"


def test_hub_histogram_refuses_what_it_cannot_count(pairs, split, retriever):
    X, y, _ = pairs
    for direction in ("both", "up"):
        with pytest.raises(ValueError, match="direction must be one of"):
            HubHistogramDisplay.from_estimator(retriever, X, y, direction=direction)
        with pytest.raises(ValueError, match="direction must be one of"):
            retriever.hubness_correction(direction, X, y)
    with pytest.raises(ValueError, match="X has 280 rows and y 230"):
        HubHistogramDisplay.from_estimator(retriever, X[200:], y[250:])
    for counts, message in [
        ([1.9, 2.9, 0.5], "must be integers"),
        ([], "must be integers"),
        ([[1, 2]], "must be integers"),
        ([1, -1], "counts from 0"),
        ({}, "no counts to draw"),
    ]:
        with pytest.raises(ValueError, match=message):
            HubHistogramDisplay.from_predictions(counts)


@pytest.mark.parametrize("how", ["groups", "content"])
def test_spectrum_counts_pictures_and_not_captions(how):
    rng = np.random.default_rng(0)
    # Captions of one picture agree with each other, but not with the picture.
    left, right = (
        np.repeat(rng.standard_normal((100, 300)), 5, axis=0) for _ in range(2)
    )
    groups = np.repeat(np.arange(100), 5)
    if how == "groups":
        right += 1e-9 * rng.standard_normal(right.shape)
    display = AlignmentSpectrumDisplay.from_predictions(
        left, right, groups if how == "groups" else None
    )
    assert display.n_pictures == 100
    outside = (np.abs(display.correlations) > display.chance_).mean()
    assert 0.02 < outside < 0.09
    assert display.n_by_chance_ == pytest.approx(7.5)
    assert "(7.5 by chance)\non 500 pairs of 100 pictures" in display.ax_.get_title()


def test_spectrum_refuses_what_gives_no_correlation():
    pairs = np.random.default_rng(0).standard_normal((8, 2))
    broken = pairs.copy()
    broken[3, 1] = np.nan
    for arguments, message in [
        ((pairs, broken), "NaN or infinite"),
        ((pairs, pairs, [0, 0, 0, 0, 1, 1, 2, 2]), "pairs are of 3 pictures"),
        ((pairs[:0], pairs[:0]), "same shape"),
    ]:
        with pytest.raises(ValueError, match=message):
            AlignmentSpectrumDisplay.from_predictions(*arguments)
    with pytest.raises(ValueError, match="between 0 and 1, got 95"):
        AlignmentSpectrumDisplay.from_predictions(pairs, pairs, confidence_level=95)


def test_pairs_curve_passes_groups_on(pairs):
    X, y, groups = pairs
    # Two crops of each picture: other content, one picture.
    y = y + np.tile([0.0, 1e-6], N_PICTURES)[:, np.newaxis]
    settings = {"sizes": [60], "n_splits": 1, "random_state": 0}
    with pytest.warns(UserWarning, match="groups hold targets of different content"):
        display = PairsCurveDisplay.from_estimator(
            CrossModalRetriever(hubness=CSLS(bank="queries")), X, y, groups, **settings
        )
    assert display.score_name == "recall@10 in a gallery of 60"
    assert list(display.scores) == ["CrossModalRetriever (CSLS, transductive)"]
    alone = PairsCurveDisplay.from_estimator(LeastSquaresMapper(), X, y, **settings)
    assert alone.score_name == "recall@10 in a gallery of 120"


@pytest.mark.parametrize(
    ("scoring", "label"),
    [
        (RecallScorer(5, "both"), "recall@5, both, in galleries of 60 and 120"),
        (
            RecallScorer(10, "target_to_query", "ndcg"),
            "ndcg@10, target to query, in a gallery of 120",
        ),
        (RecallScorer(5, metric="recall"), "fraction found@5 in a gallery of 60"),
        ("r2", "r2"),
    ],
)
def test_pairs_curve_names_what_is_scored(pairs, scoring, label):
    X, y, _ = pairs
    display = PairsCurveDisplay.from_estimator(
        LeastSquaresMapper(),
        X,
        y,
        sizes=[60],
        n_splits=1,
        scoring=scoring,
        random_state=0,
    )
    assert display.score_name == label
    splitter = GroupShuffleSplit(
        1, test_size=0.25, random_state=np.random.RandomState(0)
    )
    [(_, test)] = splitter.split(X, groups=pairs[2])
    assert len(test) == 120
    assert np.isfinite(display.scores["LeastSquaresMapper"]).all()


def test_pairs_curve_refuses_sizes_and_scorers_that_do_not_fit(pairs):
    X, y, _ = pairs
    for settings, message in [
        ({"sizes": [20.9]}, "and integers; got"),
        ({"scoring": RetrievalScorer(), "sizes": [60]}, "scorer of one number"),
        ({"scoring": "no such", "sizes": [60]}, "no such"),
    ]:
        with pytest.raises(ValueError, match=message):
            PairsCurveDisplay.from_estimator(
                LeastSquaresMapper(), X, y, n_splits=1, **settings
            )
    with pytest.raises(ValueError, match="X has 480 rows and y 479"):
        PairsCurveDisplay.from_estimator(LeastSquaresMapper(), X, y[1:])


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
def test_picture_hits_compare_targets_of_any_kind(coloured, pairs):
    search, paths = coloured
    display = PictureHitsDisplay.from_estimator(
        search, ["hue 0"], [Path(paths[0])], n_neighbors=2
    )
    assert display.correct.tolist() == [[True, False]]
    hues = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    X = np.c_[np.cos(hues), np.sin(hues)]
    embedded = CrossModalRetriever().fit(X, X)
    for y in (X[[3, 5]], [paths[3], paths[5]], [Path(paths[3]), Path(paths[5])]):
        display = PictureHitsDisplay.from_estimator(
            embedded, X[[3, 4]], y, n_neighbors=1, pictures=paths
        )
        assert display.correct.tolist() == [[True], [False]]
    pipeline = make_pipeline(FunctionTransformer(), embedded).fit(X, X)
    display = PictureHitsDisplay.from_estimator(
        pipeline, X[:2], X[:2], n_neighbors=1, pictures=paths
    )
    assert display.correct.all()


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
def test_picture_hits_take_frames_numbers_and_signs(coloured):
    _, paths = coloured
    frame = pd.DataFrame(np.random.default_rng(0).standard_normal((24, 3)))
    embedded = CrossModalRetriever().fit(frame, frame)
    display = PictureHitsDisplay.from_estimator(
        embedded, frame[:2], frame[:2], n_neighbors=1, pictures=paths
    )
    assert display.queries == [str(row) for row in frame[:2].to_numpy()]
    assert display.correct.all()
    given = PictureHitsDisplay.from_predictions(
        [r"$\bad{ $"], [paths[:2]], names=[[1, 2]]
    )
    given.figure_.canvas.draw()
    assert 'alt="1"' in given._repr_html_()


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
def test_picture_hits_refuse_what_does_not_fit(coloured):
    search, paths = coloured
    for y in (paths[:1], paths[:3]):
        with pytest.raises(ValueError, match=r"X has 2 rows and y [13]"):
            PictureHitsDisplay.from_estimator(search, ["hue 0", "hue 106"], y)
    with pytest.raises(ValueError, match="pictures has 3 entries for a gallery of 24"):
        PictureHitsDisplay.from_estimator(search, ["hue 0"], pictures=paths[:3])
    with pytest.raises(TypeError, match="which finds pictures; got LeastSquaresMapper"):
        PictureHitsDisplay.from_estimator(LeastSquaresMapper(), ["hue 0"])
    for name, values in [
        ("distances", [[0.1]]),
        ("correct", [[True, False, True]]),
        ("names", [["one"]]),
        ("correct", [True, False]),
    ]:
        with pytest.raises(ValueError, match=rf"{name} must be of shape \(1, 2\)"):
            PictureHitsDisplay.from_predictions(["any"], [paths[:2]], **{name: values})


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
def test_rows_of_the_gallery_are_found_by_content(coloured):
    search, paths = coloured
    rows = search.gallery_rows_of([paths[5], paths[0], "elsewhere"])
    assert rows.tolist() == [5, 0, -1]
