"""
Why centre
==========

Embeddings have a large common part. Taking the cosine without removing it costs recall
and makes hubs, more so for a map that shrinks its predictions.
"""

# %%
# The same maps with and without centring: a mapper whose ``transform`` is its
# prediction in the target's own space, and whose ``transform_target`` changes
# nothing.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone

from skxmodal import (
    CrossModalRetriever,
    ImageEncoder,
    LeastSquaresMapper,
    ProcrustesMapper,
    TextEncoder,
)
from skxmodal.datasets import load_openmoji
from skxmodal.inspection import hubness_skewness
from skxmodal.metrics import hit_rate_at_k, retrieval_ranks
from skxmodal.model_selection import group_train_test_split


class RawLeastSquares(LeastSquaresMapper):
    """Least squares in the target's own space."""

    def transform(self, X):
        return self.predict(X)

    def transform_target(self, y):
        return y


class RawProcrustes(ProcrustesMapper):
    """Procrustes in the target's own space."""

    def transform(self, X):
        return self.predict(X)

    def transform_target(self, y):
        return y


emoji = load_openmoji()
X = TextEncoder("all-MiniLM-L6-v2").transform(emoji.names)
y = ImageEncoder("efficientnet-lite0").transform(emoji.pictures)
share = np.linalg.norm(y.mean(axis=0))
print(f"The pictures have norm 1; their mean has norm {share:.2f}.")

# %%
# Five seeded splits, a quarter as the gallery: recall@10 from text to image, and the
# skewness of how often each picture is among the first ten.
maps = {
    "least squares": (RawLeastSquares(alpha=1.0), LeastSquaresMapper(alpha=1.0)),
    "Procrustes": (RawProcrustes(), ProcrustesMapper()),
}
recall, skewness = {}, {}
for name, pair in maps.items():
    found = []
    for seed in range(5):
        X_train, X_test, y_train, y_test, _, groups = group_train_test_split(
            X, y, emoji.groups, groups=emoji.groups, test_size=0.25, random_state=seed
        )
        for mapper in pair:
            search = CrossModalRetriever(clone(mapper)).fit(X_train, y_train)
            hubs = hubness_skewness(
                search.transform_target(y_test), search.transform(X_test)
            )
            ranks = retrieval_ranks(search, X_test, y_test, groups).query_to_target
            found.append((hit_rate_at_k(ranks, 10), hubs))
    recall[name], skewness[name] = np.reshape(found, (5, 2, 2)).mean(axis=0).T
    print(f"{name:14} raw {recall[name][0]:.3f}, centred {recall[name][1]:.3f}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3.6))
for place, values, label in zip(
    axes,
    (recall, skewness),
    (f"recall@10, gallery {ranks.gallery_size}", "skewness of the 10-occurrence"),
):
    for number, (raw, centred) in enumerate(values.values()):
        place.bar(
            number - 0.2, raw, 0.38, color="0.7", label="raw" if not number else ""
        )
        place.bar(
            number + 0.2, centred, 0.38, color="C0", label="" if number else "centred"
        )
    place.set_xticks(range(len(values)), values)
    place.set_ylabel(label)
    place.grid(axis="y", alpha=0.3)
    place.set_axisbelow(True)
axes[0].legend()
figure.tight_layout()
