"""
Hubness and CSLS
================

Some pictures come up for everything. Counting how often each picture of the gallery is
among the first ten shows them, and a correction such as CSLS takes them down.
"""

# %%
# Fit on three quarters of the emoji; the gallery and the queries are the held-out
# quarter. The correction is *inductive*: its bank is the training names, so that a
# query is answered alike alone and in a batch. ``hubness="csls"`` would say the same
# by name, which :func:`~skxmodal.neighbors.make_hubness` reads.
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from skxmodal import CrossModalRetriever, ImageEncoder, LeastSquaresMapper, TextEncoder
from skxmodal.datasets import load_openmoji
from skxmodal.inspection import HubHistogramDisplay
from skxmodal.model_selection import group_train_test_split
from skxmodal.neighbors import (
    CSLS,
    DualSoftmax,
    InvertedSoftmax,
    LocalScaling,
    QBNorm,
    k_occurrence,
)

emoji = load_openmoji()
X = TextEncoder("all-MiniLM-L6-v2").transform(emoji.names)
y = ImageEncoder("efficientnet-lite0").transform(emoji.pictures)
train, test = group_train_test_split(
    np.arange(len(X)), groups=emoji.groups, test_size=0.25, random_state=0
)
search = CrossModalRetriever(LeastSquaresMapper(alpha=1.0), hubness=CSLS(k=10))
search.fit(X[train], y[train]).index(y[test])
HubHistogramDisplay.from_estimator(search, X[test], y[test], k=10)

# %%
# Where do the hubs come from? Not from the pictures alone: asked by each other, no
# picture comes up half as often. Queries that fall between the pictures make some of
# them everybody's neighbour.
shared = search.transform_target(y[test])
shared /= np.linalg.norm(shared, axis=1, keepdims=True)
for name, queries in {"names": search.transform(X[test]), "pictures": shared}.items():
    counts = k_occurrence(queries, shared, k=10)
    print(
        f"{name} as queries: the largest hub comes up {counts.max()} times in "
        f"{len(queries)}, the median picture {np.median(counts):.0f} times"
    )

# %%
# The six largest hubs, and how often each is among the first ten of the 480 queries
# before and after.
plain = CrossModalRetriever(LeastSquaresMapper(alpha=1.0))
plain.fit(X[train], y[train]).index(y[test])
counts = [
    np.bincount(
        retriever.kneighbors(X[test], n_neighbors=10, return_distance=False).ravel(),
        minlength=len(retriever.gallery_ids_),
    )
    for retriever in (plain, search)
]
figure, axes = plt.subplots(1, 6, figsize=(8, 1.7), layout="constrained")
for place, hub in zip(axes, np.argsort(-counts[0])):
    place.imshow(Image.open(emoji.pictures[test[plain.gallery_rows_[hub]]]))
    place.set_title(f"{counts[0][hub]} → {counts[1][hub]}")
    place.set_axis_off()

# %%
# All corrections, each with its defaults. They share one small base,
# :class:`~skxmodal.neighbors.HubnessCorrection`. Recall@10 from text to image, three
# seeded splits.
corrections = [None, CSLS(), InvertedSoftmax(), DualSoftmax(), QBNorm(), LocalScaling()]
for correction in corrections:
    scores = []
    for seed in range(3):
        train, test = group_train_test_split(
            np.arange(len(X)), groups=emoji.groups, test_size=0.25, random_state=seed
        )
        retriever = CrossModalRetriever(
            LeastSquaresMapper(alpha=1.0), hubness=correction
        )
        scores.append(retriever.fit(X[train], y[train]).score(X[test], y[test]))
    print(f"{correction!s:18} {100 * np.mean(scores):.1f}")
