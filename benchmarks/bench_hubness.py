"""Plain, inductive and transductive scores on Flickr8k embeddings, in one table.

Fitted to the 30,000 captions of the 6,000 training pictures, scored on the 1,000
pictures and 5,000 captions of the dev split, which no correction was tuned on. The bank
of the inductive mode is 10,000 training captions, evenly spaced, or the 6,000 training
pictures for the other direction; that of the transductive mode is the test queries.

    python benchmarks/bench_hubness.py --data PATH
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
from scipy.linalg import LinAlgWarning

from skxmodal import (
    CCAMapper,
    CrossModalRetriever,
    LeastSquaresMapper,
    ProcrustesMapper,
)
from skxmodal.metrics import compare_retrievers, hit_rate_at_k, retrieval_ranks
from skxmodal.neighbors import CSLS, DualSoftmax, InvertedSoftmax, LocalScaling, QBNorm

MAPPERS = {
    "least squares": LeastSquaresMapper(),
    "Procrustes": ProcrustesMapper(),
    "CCA": CCAMapper(),
}
SPLITS = ("train", "dev")
FILE = "flickr8k_minilm_efflite0.npz"


def load(folder: Path) -> dict[str, np.ndarray]:
    """Training pairs and dev pairs, float32."""
    file = folder / FILE
    if not file.exists():
        raise SystemExit(f"{file} is missing: give the folder that holds it by --data.")
    arrays = np.load(file)
    picture = arrays["caption_image"]
    split = arrays["split"][picture]
    image = arrays["image"].astype(np.float32)
    text = arrays["text"].astype(np.float32)
    parts = {}
    for name in SPLITS:
        rows = split == name
        parts[f"X_{name}"] = text[rows]
        parts[f"y_{name}"] = image[picture[rows]]
        parts[f"groups_{name}"] = picture[rows]
    return parts


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the Flickr8k embeddings")
    folder = parser.parse_args().data
    if folder is None:
        print(f"Nothing to do: give the folder that holds {FILE} by --data.")
        return
    data = load(folder)
    corrections = {
        "plain": None,
        "CSLS, inductive": CSLS(),
        "CSLS, transductive": CSLS(bank="queries"),
        "inverted softmax, inductive": InvertedSoftmax(),
        "inverted softmax, transductive": InvertedSoftmax(bank="queries"),
        "dual softmax, inductive": DualSoftmax(),
        "QB-Norm, inductive": QBNorm(),
        "QB-Norm, transductive": QBNorm(bank="queries"),
        "local scaling, inductive": LocalScaling(),
        "local scaling, transductive": LocalScaling(bank="queries"),
    }
    print(
        f"Flickr8k dev: {len(data['X_dev'])} captions, "
        f"{len(np.unique(data['groups_dev']))} pictures, 5 captions each; fitted to "
        f"{len(data['X_train'])} pairs. MiniLM saw Flickr30k captions in its training."
    )
    print(f"{'':44}{'text to image R@':>22}{'image to text R@':>22}")
    header = "".join(f"{k:>7}" for k in (1, 5, 10))
    print(f"{'map':15}{'correction':30}{header} {header}")
    for name, mapper in MAPPERS.items():
        found = {}
        for label, correction in corrections.items():
            search = CrossModalRetriever(mapper, hubness=correction)
            with warnings.catch_warnings():
                # MiniLM's vectors have three directions without variance.
                warnings.simplefilter("ignore", LinAlgWarning)
                # Two training pictures are one and the same.
                warnings.filterwarnings("ignore", message="6000 groups are shown by")
                search.fit(
                    data["X_train"], data["y_train"], groups=data["groups_train"]
                )
            ranks = retrieval_ranks(
                search, data["X_dev"], data["y_dev"], groups=data["groups_dev"]
            )
            found[label] = ranks
            figures = " ".join(
                "".join(f"{100 * hit_rate_at_k(side, k):7.1f}" for k in (1, 5, 10))
                for _, side in ranks.items()
            )
            print(f"{name:15}{label:30}{figures}", flush=True)
        for direction in ("query_to_target", "target_to_query"):
            gain = compare_retrievers(
                found["CSLS, inductive"], found["plain"], direction=direction
            )
            print(
                f"  inductive CSLS over plain, {direction}: "
                f"{100 * gain.difference:+.1f} points of R@10 "
                f"[{100 * gain.low:+.1f}, {100 * gain.high:+.1f}], p {gain.p_value:.1g}"
            )


if __name__ == "__main__":
    main()
