"""What `alignment_report` says of real pairs, beside what a map then retrieves.

For subsets of Flickr8k's training pictures, one caption each: the verdict and its
figures over n pairs, and the hit rate at 10 (mean of both directions) of `CCAMapper`
fitted to those n pairs, among 300 other pictures (chance: 3.3%). Pairs are left as
they are, or a part of the targets is shuffled among themselves. The median over
several draws.

    python benchmarks/bench_alignment.py --data PATH [--draws 5]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from skxmodal import CCAMapper
from skxmodal._validation import unit_rows
from skxmodal.inspection import alignment_report
from skxmodal.metrics import RecallScorer

FILES = {
    "MiniLM, EfficientNet-Lite0": "flickr8k_minilm_efflite0.npz",
    "MiniLM, CLIP ViT-B/32": "flickr8k_minilm_clipb32.npz",
}
N_TEST = 300


def load(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """One caption and one picture a row, for each pair of encoders."""
    spaces = {}
    for name, file in FILES.items():
        if not (folder / file).exists():
            raise SystemExit(f"{folder / file} is missing: give its folder by --data.")
        arrays = np.load(folder / file)
        text = arrays["text"].astype(np.float32)
        image = arrays["image"].astype(np.float32)
        first = np.unique(arrays["caption_image"], return_index=True)[1]
        if "split" in arrays:
            train = arrays["split"] == "train"
            first, image = first[train], image[train]
        spaces[name] = unit_rows(text[first]), unit_rows(image)
        if "split" in arrays:
            spaces["MiniLM, MiniLM of another caption"] = (
                unit_rows(text[first]),
                unit_rows(text[first + 1]),
            )
    return spaces


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=5)
    arguments = parser.parse_args()
    spaces = load(arguments.data)
    scorer = RecallScorer(k=10, direction="both")
    print(
        f"{'encoders':<34} {'pairs':>6} {'mixed':>7} {'CKA':>7} {'overlap':>8} "
        f"{'chance':>6} {'largest p':>9}  {'verdicts':<20} hit rate"
    )
    for name, (text, image) in spaces.items():
        for n_pairs in (100, 300, 1000):
            if n_pairs + N_TEST > len(text):
                continue
            for shuffled in (0.0, 0.5, 0.75, 1.0):
                figures = []
                verdicts = []
                for draw in range(arguments.draws):
                    rng = np.random.default_rng(draw)
                    rows = rng.permutation(len(text))[: n_pairs + N_TEST]
                    train, test = rows[:n_pairs], rows[n_pairs:]
                    X, y = text[train], image[train].copy()
                    wrong = rng.permutation(n_pairs)[: int(shuffled * n_pairs)]
                    y[wrong] = y[np.roll(wrong, 1)]
                    report = alignment_report(X, y)
                    mapper = CCAMapper().fit(X, y)
                    hit_rate = scorer(mapper, text[test], image[test])
                    neighbors = report.neighbors
                    figures.append([report.cka, neighbors.overlap, neighbors.expected])
                    figures[-1] += [neighbors.p_value, hit_rate]
                    verdicts.append(report.verdict)
                largest_p = max(row[3] for row in figures)
                cka, overlap, expected, _, rate = np.median(figures, axis=0)
                counts = [f"{verdicts.count(v)} {v}" for v in dict.fromkeys(verdicts)]
                print(
                    f"{name:<34} {n_pairs:>6} {shuffled:>7.0%} {cka:>7.3f} "
                    f"{overlap:>8.1%} {expected:>6.1%} {largest_p:>9.3f}  "
                    f"{', '.join(counts):<20} {rate:>7.1%}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
