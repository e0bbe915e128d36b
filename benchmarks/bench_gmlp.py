"""GMLPMapper beside the closed-form maps on Flickr8k, train to dev.

    python benchmarks/bench_gmlp.py --data FOLDER

FOLDER holds ``flickr8k_minilm_efflite0.npz``: EfficientNet-Lite0 and MiniLM embeddings
of Flickr8k's official training (6,000 pictures, 30,000 captions) and dev split (1,000
pictures, 5,000 captions). All maps are fitted to the first and scored on the second by
plain cosine. The difference is of R@10, mean of both directions, and its interval
resamples pictures.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from scipy.linalg import LinAlgWarning

from skxmodal import CCAMapper, GMLPMapper, LeastSquaresMapper, ProcrustesMapper
from skxmodal.metrics import compare_retrievers, hit_rate_at_k, retrieval_ranks

FILE = "flickr8k_minilm_efflite0.npz"
KS = (1, 5, 10)
STOPPING = {"auto": "auto", "yes": True, "no": False}


def load(folder):
    """Row-aligned captions, pictures and picture numbers of train and dev."""
    path = Path(folder) / FILE
    if not path.is_file():
        sys.exit(f"{path} is missing: give the folder that holds it with --data.")
    arrays = np.load(path)
    captions = arrays["text"].astype(np.float32)
    pictures = arrays["image"].astype(np.float32)
    picture = arrays["caption_image"]
    return [
        (captions[rows], pictures[picture[rows]], picture[rows])
        for rows in (
            np.flatnonzero(arrays["split"][picture] == split)
            for split in ("train", "dev")
        )
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder with the embeddings")
    parser.add_argument("--seeds", type=int, default=1, help="trainings to run")
    parser.add_argument("--device", default=None, help="a torch device")
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--early-stopping", choices=STOPPING, default="no")
    arguments = parser.parse_args()
    train, dev = load(arguments.data)
    print(f"train: {len(train[0])} captions of {len(np.unique(train[2]))} pictures")
    print(f"dev: {len(dev[0])} captions, gallery of {len(np.unique(dev[2]))} pictures")
    print("R@1 / R@5 / R@10 (hit rate, %)       text to image        image to text")

    def report(name, mapper, seconds):
        ranks = retrieval_ranks(mapper, dev[0], dev[1], groups=dev[2])
        rates = [
            [100 * hit_rate_at_k(side, k) for k in KS]
            for side in (ranks.query_to_target, ranks.target_to_query)
        ]
        shown = "    ".join("{:5.1f} {:5.1f} {:5.1f}".format(*row) for row in rates)
        print(f"{name:32s} {shown}    {seconds}")
        return rates[0][-1] + rates[1][-1], ranks

    closed = []
    for mapper in (LeastSquaresMapper(), ProcrustesMapper(), CCAMapper()):
        with warnings.catch_warnings():
            # Fewer columns than dimensions: the map of least norm is meant.
            warnings.simplefilter("ignore", LinAlgWarning)
            seconds = timed(lambda mapper=mapper: mapper.fit(train[0], train[1]))
        closed.append(report(type(mapper).__name__, mapper, seconds))
    _, best = max(closed, key=lambda each: each[0])
    for seed in range(arguments.seeds):
        mapper = GMLPMapper(
            early_stopping=STOPPING[arguments.early_stopping],
            max_epochs=arguments.epochs or "auto",
            device=arguments.device,
            random_state=seed,
        )
        seconds = timed(
            lambda mapper=mapper: mapper.fit(train[0], train[1], groups=train[2])
        )
        _, ranks = report(f"GMLPMapper, seed {seed}", mapper, seconds)
        print(compare_retrievers(ranks, best, direction="both"))
        print(f"kept epoch {mapper.best_epoch_} of {len(mapper.history_['epoch']) - 1}")


def timed(fit):
    """Seconds by the clock, and of all cores together."""
    start, start_cpu = time.perf_counter(), time.process_time()
    fit()
    clock, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    return f"fitted in {clock:.1f} s, {cpu:.1f} s of CPU"


if __name__ == "__main__":
    main()
