"""
Alignment before fitting
========================

Will these two encoders align? A few hundred pairs tell, before anything is fitted: do
neighbours on one side stay neighbours on the other?
"""

# %%
# One text encoder, and five ways to describe a picture: two networks, the histogram of
# its colours, its raw pixels, and numbers that have nothing to do with it.
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from skxmodal import (
    CCAMapper,
    ImageEncoder,
    ProcrustesMapper,
    RecallScorer,
    TextEncoder,
)
from skxmodal.datasets import load_openmoji
from skxmodal.inspection import (
    AlignmentSpectrumDisplay,
    alignment_report,
    effective_rank,
    linear_cka,
    mutual_knn_overlap,
)
from skxmodal.model_selection import group_train_test_split


def pixels(paths):
    """Return each picture as 8 x 8 colours."""
    return np.array(
        [np.ravel(Image.open(p).convert("RGB").resize((8, 8))) for p in paths]
    )


def colours(paths):
    """Return the square root of each picture's histogram of 64 colours."""
    rows = []
    for path in paths:
        codes = np.asarray(Image.open(path).convert("RGB").resize((64, 64))) // 64
        codes = codes @ [16, 4, 1]
        rows.append(np.bincount(codes.ravel(), minlength=64) / codes.size)
    return np.sqrt(rows)


emoji = load_openmoji()
X = TextEncoder("all-MiniLM-L6-v2").transform(emoji.names).astype(np.float64)
sides = {
    "EfficientNet-Lite2": ImageEncoder("efficientnet-lite2").transform(emoji.pictures),
    "EfficientNet-Lite0": ImageEncoder("efficientnet-lite0").transform(emoji.pictures),
    "colours": colours(emoji.pictures),
    "pixels": pixels(emoji.pictures),
    "random numbers": np.random.default_rng(0).normal(size=(len(X), 256))[emoji.groups],
}

# %%
# The report for one of them, an :class:`~skxmodal.inspection.AlignmentReport`, from 400
# pairs, one row a picture.
few = np.random.default_rng(0).permutation(len(X))[:400]
print(alignment_report(X[few], sides["EfficientNet-Lite0"][few], random_state=0))

# %%
# The measures in it, one by one: how many dimensions each side really uses, and how
# alike the two are as a whole (:func:`~skxmodal.inspection.linear_cka`, 1 for rotated
# copies, 0 for strangers).
print(f"{'names':19} use {effective_rank(X[few]):5.1f} of {X.shape[1]} dimensions")
for name, y in sides.items():
    y = np.asarray(y[few], dtype=np.float64)
    print(
        f"{name:19} use {effective_rank(y):5.1f} of {y.shape[1]}; "
        f"linear CKA with the names {linear_cka(X[few], y):.3f}"
    )

# %%
# For each: the overlap of neighbours in those 400 pairs, over what chance would give,
# (a :class:`~skxmodal.inspection.NeighborOverlap`), beside the recall that a map
# reaches when it is then fitted on all training pairs.
rows = np.arange(len(X))
train, test = group_train_test_split(
    rows, groups=emoji.groups, test_size=0.25, random_state=0
)
gallery_size = len(np.unique(emoji.groups[test]))
lifts, recalls = [], []
for name, y in sides.items():
    y = np.asarray(y, dtype=np.float64)
    overlap = mutual_knn_overlap(X[few], y[few], random_state=0)
    mapper = ProcrustesMapper().fit(X[train], y[train])
    recall = RecallScorer(k=10)(mapper, X[test], y[test], groups=emoji.groups[test])
    lifts.append(overlap.lift)
    recalls.append(recall)
    print(
        f"{name:19} overlap {overlap.overlap:.3f}, {overlap.lift:.1f} times chance "
        f"(p = {overlap.p_value:.3f}); recall@10 {recall:.3f}"
    )

figure, place = plt.subplots(figsize=(6.5, 4.2))
place.scatter(lifts, recalls, s=60)
for name, lift, recall in zip(sides, lifts, recalls):
    place.annotate(
        name,
        (lift, recall),
        xytext=(-8, 6 if name == "pixels" else 0),
        textcoords="offset points",
        ha="right",
        va="center",
    )
place.axvline(1, color="k", linestyle=":", linewidth=1)
place.axhline(10 / gallery_size, color="k", linestyle=":", linewidth=1)
place.set_xlim(-1.8, max(lifts) * 1.1)
place.set_xlabel("shared neighbours over chance, before any fit (400 pairs)")
place.set_ylabel(f"recall@10 after the fit, gallery {gallery_size}")
place.set_title("Dotted: chance")
place.grid(alpha=0.3)
figure.tight_layout()

# %%
# After the fit: along how many directions do the two sides agree, on pairs that the map
# did not see?
y = sides["EfficientNet-Lite0"]
mapper = CCAMapper().fit(X[train], y[train])
display = AlignmentSpectrumDisplay.from_estimator(mapper, X[test], y[test])
print(display.n_shared_, "of", len(display.correlations), "directions above chance")
