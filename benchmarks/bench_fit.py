"""Fitting in closed form beside plain BLAS and scikit-learn, and Flickr8k's hit rates.

Part 1, always, single-threaded, ours and the peer in turn in one process. Each line
gives the median of the rounds, and the median of their ratios:

- `LeastSquaresMapper` and `ProcrustesMapper` on 50,000 pairs of 384 and 1280
  dimensions, float32, beside forming X'X and X'Y by two plain BLAS calls (at most
  1.25 times that for least squares), and beside `LinearRegression` (at least 4 times
  faster, under a tenth of the extra memory);
- `LeastSquaresMapper(alpha="auto")`, 20 penalties, on 10,000 such pairs beside the
  leave-one-out of `RidgeCV` (at least 8 times faster, the same penalty);
- `CCAMapper` without ridge on 2,000 pairs of 256 and 256 dimensions, 32 components,
  beside `sklearn.cross_decomposition.CCA` (at least 200 times less CPU time,
  correlations agreeing to 1e-3).

Part 2, with --data: hit rates at 1, 5 and 10 on the dev split of Flickr8k (5,000
captions, 1,000 pictures) by mappers fitted to the 30,000 captions of the training
split. Both sides centred, cosine, no correction for hubness. MiniLM's own training
data included captions of Flickr30k.

    python benchmarks/bench_fit.py [--rounds 5] [--data PATH]
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.cross_decomposition import CCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, RidgeCV
from threadpoolctl import threadpool_limits

from skxmodal import (
    CCAMapper,
    LeastSquaresMapper,
    ProcrustesMapper,
    RelativeMapper,
)
from skxmodal._validation import unit_rows
from skxmodal.neighbors import count_ranks

FILE = "flickr8k_minilm_efflite0.npz"
ALPHAS = np.logspace(-4, 2, 20)


def make_embeddings(
    n: int, widths: tuple[int, int], dtype: str = "float32", decay: float = 0.5
) -> list[np.ndarray]:
    """Two sides with decaying spectra, that share most of their directions."""
    rng = np.random.default_rng(0)
    latent = rng.standard_normal((n, max(widths)), dtype=np.float32)
    sides = []
    for width in widths:
        spread = np.arange(1, width + 1, dtype=np.float32) ** -decay
        basis, _ = np.linalg.qr(rng.standard_normal((width, width), dtype=np.float32))
        rows = latent[:, :width] + 0.5 * rng.standard_normal((n, width), np.float32)
        rows = (rows * spread) @ basis + 0.02 * rng.standard_normal(width)
        sides.append(rows.astype(dtype))
    return sides


def compare(
    title: str,
    ours: Callable[[], Any],
    peer: Callable[[], Any],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[Any, Any]:
    """Time the two in turn and print the ratio; give back what each returned."""
    seconds: list[tuple[float, float]] = []
    for _ in range(rounds):
        pair, results = [], []
        for call in (ours, peer):
            start = clock()
            results.append(call())
            pair.append(clock() - start)
        seconds.append((pair[0], pair[1]))
    first, second = np.median(seconds, axis=0)
    ratios = [b / a for a, b in seconds]
    print(
        f"{title}\n    ours {first:.3f} s, peer {second:.3f} s; ours takes "
        f"{1 / np.median(ratios):.3f} of the peer's time, is {np.median(ratios):.1f} "
        f"times faster ({min(ratios):.2f} to {max(ratios):.2f})"
    )
    return results[0], results[1]


def extra_memory(call: Callable[[], Any]) -> float:
    """Megabytes that a call allocates at its peak."""
    tracemalloc.start()
    call()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / 1e6


def bench_fit(rounds: int) -> None:
    """Least squares and Procrustes beside plain moments and LinearRegression."""
    X, y = make_embeddings(50_000, (384, 1280))

    def plain_moments() -> tuple[np.ndarray, np.ndarray]:
        return X.T @ X, X.T @ y

    for mapper in (LeastSquaresMapper(), ProcrustesMapper()):
        name = type(mapper).__name__
        compare(
            f"{name} and plain moments",
            lambda m=mapper: m.fit(X, y),
            plain_moments,
            rounds,
        )
    least_squares, regression = LeastSquaresMapper(), LinearRegression()
    compare(
        "LeastSquaresMapper and LinearRegression",
        lambda: least_squares.fit(X, y),
        lambda: regression.fit(X, y),
        min(rounds, 3),
    )
    difference = np.abs(least_squares.coef_ - regression.coef_).max()
    print(f"    largest difference of coefficients: {difference:.1e}")
    ours = extra_memory(lambda: least_squares.fit(X, y))
    peer = extra_memory(lambda: regression.fit(X, y))
    print(
        f"    extra memory: ours {ours:.0f} MB, peer {peer:.0f} MB, ratio "
        f"{ours / peer:.3f}"
    )


def bench_auto(rounds: int) -> None:
    """The leave-one-out path beside RidgeCV's."""
    X, y = make_embeddings(10_000, (384, 1280))
    unit = X.var(axis=0, dtype=np.float64).mean() * len(X)
    mapper = LeastSquaresMapper(alpha="auto", alphas=ALPHAS)
    ridge = RidgeCV(alphas=ALPHAS * unit)
    compare(
        "LeastSquaresMapper(alpha='auto') and RidgeCV, 20 penalties",
        lambda: mapper.fit(X, y),
        lambda: ridge.fit(X, y),
        min(rounds, 2),
    )
    print(f"    alpha: ours {mapper.alpha_:.3g}, peer {ridge.alpha_ / unit:.3g}")


def bench_cca() -> None:
    """CCA without ridge beside scikit-learn's."""
    X, y = make_embeddings(2_000, (256, 256), "float64", decay=0.2)
    n_components = 32

    def sklearn_cca() -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            cca = CCA(n_components=n_components, max_iter=10_000, tol=1e-10).fit(X, y)
        variates = zip(*(side.T for side in cca.transform(X, y)), strict=True)
        return np.sort([np.corrcoef(a, b)[0, 1] for a, b in variates])[::-1]

    mapper = CCAMapper(n_components=n_components, alpha=0.0)
    ours, peer = compare(
        "CCAMapper and sklearn's CCA, CPU time",
        lambda: mapper.fit(X, y).correlations_,
        sklearn_cca,
        1,
        clock=time.process_time,
    )
    print(f"    largest difference of correlations: {np.abs(ours - peer).max():.1e}")


def hit_rates(
    mapper: Any, captions: np.ndarray, pictures: np.ndarray, picture_of: Any
) -> Any:
    """Hit rates at 1, 5 and 10 in per cent, text to image and image to text."""
    queries = unit_rows(mapper.transform(captions))
    gallery = unit_rows(mapper.transform_target(pictures))
    pairs = np.arange(len(captions) + 1)
    ranks, reverse = count_ranks(queries, gallery, pairs, picture_of, both=True)
    best = np.full(len(pictures), len(captions))
    np.minimum.at(best, picture_of, reverse)
    return [100 * np.mean(r <= k) for r in (ranks, best) for k in (1, 5, 10)]


def bench_flickr(path: Path) -> None:
    """Hit rates on Flickr8k's dev split."""
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        raise SystemExit(f"No file {file}: give --data the folder of {FILE}.")
    with np.load(file) as stored:
        images, texts = (
            unit_rows(stored[k].astype(np.float32)) for k in ("image", "text")
        )
        owner, split = stored["caption_image"], stored["split"]
    train, dev = split[owner] == "train", np.flatnonzero(split == "dev")
    X, y, groups = texts[train], images[owner[train]], owner[train]
    captions, pictures = texts[~train], images[dev]
    picture_of = np.searchsorted(dev, owner[~train])
    print(
        f"Flickr8k, {len(X)} training captions; {len(captions)} dev captions, "
        f"{len(pictures)} dev pictures\n"
        f"{'':44}  text to image       image to text\n{'':44}  R@1   R@5  R@10   "
        "R@1   R@5  R@10"
    )
    for mapper in (
        LeastSquaresMapper(),
        LeastSquaresMapper(alpha="auto"),
        LeastSquaresMapper(y_whiten=0.5),
        ProcrustesMapper(),
        ProcrustesMapper(y_whiten=0.5),
        ProcrustesMapper(n_components=256, x_whiten=0.5, y_whiten=0.5),
        RelativeMapper(random_state=0),
        CCAMapper(),
    ):
        grouped = getattr(mapper, "alpha", None) == "auto" and isinstance(
            mapper, LeastSquaresMapper
        )
        with warnings.catch_warnings():
            # The stored vectors are float16, in which two columns are constant.
            warnings.filterwarnings("ignore", "X has rank")
            mapper.fit(X, y, **({"groups": groups} if grouped else {}))
        rates = hit_rates(mapper, captions, pictures, picture_of)
        label = repr(mapper).replace("\n", "").replace("Mapper", "")
        print(f"{label[:44]:44}" + "".join(f"{rate:6.1f}" for rate in rates))


def main() -> None:
    """Run both parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=Path, help=f"the folder of {FILE}")
    arguments = parser.parse_args()
    with threadpool_limits(1):
        bench_fit(arguments.rounds)
        bench_auto(arguments.rounds)
        bench_cca()
    if arguments.data is None:
        print("Flickr8k is left out: --data was not given.")
    else:
        bench_flickr(arguments.data)


if __name__ == "__main__":
    main()
