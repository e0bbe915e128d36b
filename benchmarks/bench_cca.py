"""Ridge CCA: its cost beside scikit-learn's and cca-zoo's, and Flickr8k's hit rates.

Part 1, always: 2,000 pairs of 256 and 256 dimensions, 32 components, no ridge. CPU
time (all threads) of `CCAMapper`, `sklearn.cross_decomposition.CCA` and cca-zoo's
`RidgeCCA`, in turn in one process, the median of several rounds; the ratios; and the
largest difference of the canonical correlations.

Part 2, with --data: hit rate at 10 on the 5,000 captions and 1,000 pictures of the
dev split of Flickr8k, by mappers fitted to the 30,000 captions of the training split,
and to as many captions of different training pictures as there are few. Cosine in the
shared space, no correction for hubness; unit rows, as encoders give them. MiniLM's own
training data included captions of Flickr30k.

    python benchmarks/bench_cca.py [--rounds 3] [--data PATH]
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from cca_zoo.linear import RidgeCCA
from sklearn.cross_decomposition import CCA
from sklearn.exceptions import ConvergenceWarning

from skxmodal import CCAMapper, LeastSquaresMapper, ProcrustesMapper, RelativeMapper
from skxmodal._validation import unit_rows
from skxmodal.metrics import RecallScorer

FILE = "flickr8k_minilm_efflite0.npz"
N_PAIRS, N_COLUMNS, N_COMPONENTS = 2_000, 256, 32


def make_pairs() -> tuple[np.ndarray, np.ndarray]:
    """Two sides that share 48 directions, more or less noisily."""
    rng = np.random.default_rng(0)
    common = rng.normal(size=(N_PAIRS, 48)) * np.linspace(2.0, 0.2, 48)
    return tuple(
        common @ np.linalg.qr(rng.normal(size=(N_COLUMNS, 48)))[0].T
        + 0.3 * rng.normal(size=(N_PAIRS, N_COLUMNS))
        for _ in range(2)
    )


def correlations(x_variates: np.ndarray, y_variates: np.ndarray) -> np.ndarray:
    """Correlation of each pair of columns, descending."""
    pairs = zip(x_variates.T, y_variates.T, strict=True)
    return np.sort([np.corrcoef(x, y)[0, 1] for x, y in pairs])[::-1]


def by_skxmodal(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Correlations by the mapper."""
    return CCAMapper(n_components=N_COMPONENTS, alpha=0.0).fit(X, y).correlations_


def by_sklearn(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Correlations by power iterations."""
    cca = CCA(n_components=N_COMPONENTS, max_iter=2_000, tol=1e-8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return correlations(*cca.fit(X, y).transform(X, y))


def by_cca_zoo(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Correlations by whitening each view."""
    cca = RidgeCCA(n_components=N_COMPONENTS).fit([X, y])
    return correlations(*cca.transform([X, y]))


def cpu_seconds(
    fit: Callable[[np.ndarray, np.ndarray], np.ndarray], X: np.ndarray, y: np.ndarray
) -> tuple[float, np.ndarray]:
    """CPU time of a fit, over all threads, and what it returned."""
    start = time.process_time()
    found = fit(X, y)
    return time.process_time() - start, found


def compare_cost(rounds: int) -> None:
    """Print the ratios of CPU time."""
    X, y = make_pairs()
    fits = {"skxmodal": by_skxmodal, "scikit-learn": by_sklearn, "cca-zoo": by_cca_zoo}
    seconds: dict[str, list[float]] = {name: [] for name in fits}
    found = {}
    by_skxmodal(X, y)
    for _ in range(rounds):
        for name, fit in fits.items():
            spent, found[name] = cpu_seconds(fit, X, y)
            seconds[name].append(spent)
    ours = np.median(seconds["skxmodal"])
    print(f"{N_PAIRS} pairs, {N_COLUMNS} columns a side, {N_COMPONENTS} components")
    for name, spent in seconds.items():
        difference = np.abs(found[name] - found["skxmodal"]).max()
        print(
            f"{name:>13}: {np.median(spent):8.3f} s of CPU, "
            f"{np.median(spent) / ours:7.1f} times ours; correlations differ by "
            f"{difference:.1e}"
        )


def load(folder: Path) -> dict[str, np.ndarray]:
    """Training and dev pairs, unit rows, float32."""
    file = folder / FILE
    if not file.exists():
        raise SystemExit(f"{file} is missing: give the folder that holds it by --data.")
    arrays = np.load(file)
    picture = arrays["caption_image"]
    image = unit_rows(arrays["image"].astype(np.float32))
    text = unit_rows(arrays["text"].astype(np.float32))
    parts = {}
    for name in ("train", "dev"):
        rows = arrays["split"][picture] == name
        parts |= {
            f"X_{name}": text[rows],
            f"y_{name}": image[picture[rows]],
            f"groups_{name}": picture[rows],
        }
    return parts


def compare_hit_rates(folder: Path) -> None:
    """Print hit rates at 10 in both directions."""
    data = load(folder)
    first = np.unique(data["groups_train"], return_index=True)[1]
    first = np.random.default_rng(0).permutation(first)
    mappers = {
        "CCAMapper()": CCAMapper(),
        "plain ridge CCA": CCAMapper(256, alpha=1.0, weighting=0.5),
        "LeastSquaresMapper()": LeastSquaresMapper(),
        'LeastSquaresMapper("auto")': LeastSquaresMapper("auto"),
        "ProcrustesMapper()": ProcrustesMapper(),
        "RelativeMapper()": RelativeMapper(random_state=0),
    }
    print("Flickr8k dev, hit rate at 10: text to image, image to text")
    for n_pairs in (300, 1_442, len(data["X_train"])):
        rows = first[:n_pairs] if n_pairs <= len(first) else slice(None)
        print(f"{n_pairs} training pairs")
        for name, mapper in mappers.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                mapper.fit(data["X_train"][rows], data["y_train"][rows])
            rates = [
                100
                * RecallScorer(k=10, direction=direction)(
                    mapper, data["X_dev"], data["y_dev"], groups=data["groups_dev"]
                )
                for direction in ("query_to_target", "target_to_query")
            ]
            print(f"  {name:<27} {rates[0]:5.1f} {rates[1]:5.1f}")


def main() -> None:
    """Run both parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with the Flickr8k embeddings")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.rounds:
        compare_cost(arguments.rounds)
    if arguments.data is None:
        print("Give --data for the hit rates on Flickr8k.")
    else:
        compare_hit_rates(arguments.data)


if __name__ == "__main__":
    main()
