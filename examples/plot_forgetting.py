"""
Forgetting a picture
====================

Somebody asks for their picture to be deleted. Taking it out of the gallery is not all:
the map was computed from it as well. The linear maps are solved from sums over pairs,
so the pair's share can be subtracted, and what remains equals a fit that never saw it.
"""

# %%
# Fit to all emoji. Every twentieth is to be forgotten.
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from skxmodal import ImageEncoder, LeastSquaresMapper, TextEncoder
from skxmodal.datasets import load_openmoji
from skxmodal.mappers import Moments

emoji = load_openmoji()
X = TextEncoder("all-MiniLM-L6-v2").transform(emoji.names).astype(np.float64)
y = ImageEncoder("efficientnet-lite0").transform(emoji.pictures).astype(np.float64)
gone = np.arange(7, len(X), 20)


def ranks(mapper, rows):
    """Return the rank of each row's own picture among all pictures, by its name."""
    queries = mapper.transform(X[rows])
    targets = mapper.transform_target(y)
    targets /= np.linalg.norm(targets, axis=1, keepdims=True)
    scores = queries @ targets.T
    return 1 + (scores > scores[np.arange(len(rows)), rows, np.newaxis]).sum(axis=1)


mapper = LeastSquaresMapper().fit(X, y)
before = ranks(mapper, gone)

# %%
# Forget the pairs one after the other, and compare with maps that were fitted without
# them from the start.
differences = []
for count, row in enumerate(gone, start=1):
    mapper.forget(X[[row]], y[[row]])
    if count % 24 == 0 or count == len(gone):
        remaining = np.setdiff1d(np.arange(len(X)), gone[:count])
        fresh = LeastSquaresMapper().fit(X[remaining], y[remaining])
        change = np.linalg.norm(mapper.coef_ - fresh.coef_)
        differences.append((count, change / np.linalg.norm(fresh.coef_)))
after = ranks(mapper, gone)
print(f"{len(gone)} pairs forgotten; relative difference {differences[-1][1]:.1e}")
print("equal ranks to those of a fresh fit:", np.array_equal(after, ranks(fresh, gone)))

# %%
# What the map keeps of its pairs are :class:`~skxmodal.mappers.Moments`: their number,
# means and cross-products. They are now those of the remaining pairs.
kept = Moments(X.shape[1], y.shape[1]).update(X[remaining], y[remaining])
print("pairs in the sums:", mapper.moments_.n_samples, "of", len(X))
print("cross-products agree:", np.allclose(mapper.moments_.xy, kept.xy, atol=1e-9))

# %%
# A map knows the pairs it was fitted to: asked by their names, their pictures stand
# high among all 1,923. Forgotten, they stand where pictures do that it never saw.
figure = plt.figure(figsize=(9.5, 5.2), layout="constrained")
top, bottom = figure.subfigures(2, 1, height_ratios=[1, 2.4])
top.suptitle("rank of the picture among 1,923, before → after", fontsize=10)
for place, shown in zip(top.subplots(1, 8), range(0, len(gone), len(gone) // 8)):
    place.imshow(Image.open(emoji.pictures[gone[shown]]))
    place.set_title(f"{before[shown]} → {after[shown]}", fontsize=9)
    place.set_axis_off()
left, right = bottom.subplots(1, 2, width_ratios=[3, 2])
left.loglog(before, after, "o", alpha=0.5)
left.plot([1, len(X)], [1, len(X)], color="k", linestyle=":")
left.set_xlabel("rank before")
left.set_ylabel("rank after it is forgotten")
right.semilogy(*np.transpose(differences), marker="o")
right.axhline(np.finfo(float).eps, color="k", linestyle=":", label="float64 epsilon")
right.set_xlabel("pairs forgotten, one by one")
right.set_ylabel("difference to a fresh fit")
right.legend()
