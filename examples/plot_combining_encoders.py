"""
Combining encoders
==================

Two image networks and a histogram of colours see different things. scikit-learn's
:class:`~sklearn.pipeline.FeatureUnion` puts their vectors side by side, and a map with
regularisation takes from each what text can say.
"""

# %%
# Three encoders of pictures. The last is ten lines of NumPy.
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from sklearn.model_selection import GroupShuffleSplit
from sklearn.pipeline import FeatureUnion
from sklearn.preprocessing import FunctionTransformer

from skxmodal import (
    CCAMapper,
    CrossModalRetriever,
    ImageEncoder,
    RecallScorer,
    TextEncoder,
)
from skxmodal.datasets import load_openmoji


def colours(paths):
    """Return the square root of each picture's histogram of 64 colours."""
    rows = []
    for path in paths:
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB").resize((64, 64))) // 64
        codes = pixels[..., 0] * 16 + pixels[..., 1] * 4 + pixels[..., 2]
        rows.append(np.bincount(codes.ravel(), minlength=64) / codes.size)
    return np.sqrt(rows).astype(np.float32)


lite0 = ImageEncoder("efficientnet-lite0")
lite2 = ImageEncoder("efficientnet-lite2")
histogram = FunctionTransformer(colours)
encoders = {
    "colours": histogram,
    "Lite0": lite0,
    "Lite2": lite2,
    "Lite0 + colours": FeatureUnion([("lite0", lite0), ("colours", histogram)]),
    "Lite0 + Lite2": FeatureUnion([("lite0", lite0), ("lite2", lite2)]),
    "Lite0 + Lite2 + colours": FeatureUnion(
        [("lite0", lite0), ("lite2", lite2), ("colours", histogram)]
    ),
}

# %%
# Each is encoded once and scored on five seeded splits, a quarter of the emoji as the
# gallery. The groups say which pictures are one: by their colours alone some flags that
# differ could not be told apart.
emoji = load_openmoji()
X = TextEncoder("all-MiniLM-L6-v2").transform(emoji.names)
splits = GroupShuffleSplit(n_splits=5, test_size=0.25, random_state=0)
scorer = RecallScorer(k=10, direction="both")
scores = {}
for name, encoder in encoders.items():
    y = encoder.fit_transform(emoji.pictures)
    scores[name] = np.array(
        [
            scorer(
                CCAMapper().fit(X[train], y[train]),
                X[test],
                y[test],
                groups=emoji.groups[test],
            )
            for train, test in splits.split(X, groups=emoji.groups)
        ]
    )

# %%
# A point a split.
figure, place = plt.subplots(figsize=(7.5, 3.6))
for number, (name, values) in enumerate(scores.items()):
    place.scatter(values, [number] * len(values), color="C0", alpha=0.5)
    place.scatter(values.mean(), number, color="C1", marker="|", s=300, linewidth=3)
    print(f"{name:24} {100 * values.mean():5.1f}")
place.set_yticks(range(len(scores)), scores)
place.invert_yaxis()
place.set_xlabel("recall@10, mean of both directions; mean of the splits in orange")
place.grid(axis="x", alpha=0.3)
figure.tight_layout()

# %%
# In a retriever the union takes the place of the target encoder, on raw pictures:
search = CrossModalRetriever(
    CCAMapper(),
    query_encoder=TextEncoder("all-MiniLM-L6-v2"),
    target_encoder=encoders["Lite0 + Lite2 + colours"],
)
search.fit(emoji.names, emoji.pictures)
rows = search.kneighbors(["something green"], n_neighbors=8, return_distance=False)
print([emoji.names[row] for row in search.gallery_rows_[rows[0]]])
