"""
Which mapper?
=============

The closed-form maps side by side, on the same embeddings and the same splits. Least
squares and Procrustes are the two maps of Choi et al. (ECIR 2023, arXiv:2304.11095).
"""

# %%
# Text by all-MiniLM-L6-v2, pictures by EfficientNet-Lite0, one caption a picture: its
# name. Five seeded splits, three quarters to fit and a quarter as the gallery.
import warnings

import matplotlib.pyplot as plt
import numpy as np
from scipy.linalg import LinAlgWarning
from sklearn.model_selection import GroupShuffleSplit, cross_validate

from skxmodal import (
    CCAMapper,
    CrossModalRetriever,
    ImageEncoder,
    LeastSquaresMapper,
    ProcrustesMapper,
    RelativeMapper,
    RetrievalScorer,
    TextEncoder,
)
from skxmodal.datasets import load_openmoji

emoji = load_openmoji()
X = TextEncoder("all-MiniLM-L6-v2").transform(emoji.names)
y = ImageEncoder("efficientnet-lite0").transform(emoji.pictures)

# Three of MiniLM's 384 columns never vary, of which plain least squares warns.
warnings.filterwarnings("ignore", category=LinAlgWarning)

maps = {
    "relative representations": RelativeMapper(),
    "least squares": LeastSquaresMapper(),
    "least squares, alpha='auto'": LeastSquaresMapper(alpha="auto"),
    "Procrustes": ProcrustesMapper(),
    "CCA": CCAMapper(),
}
splits = GroupShuffleSplit(n_splits=5, test_size=0.25, random_state=0)
scorer = RetrievalScorer(ks=(1, 5, 10))

results = {}
for name, mapper in maps.items():
    results[name] = cross_validate(
        CrossModalRetriever(mapper),
        X,
        y,
        groups=emoji.groups,
        scoring=scorer,
        cv=splits,
    )

# %%
# Both directions, with the mean over the splits; the whiskers go from the worst to the
# best split. Chance stands as a dotted line.
directions = {"query_to_target": "text to image", "target_to_query": "image to text"}
gallery = int(results["CCA"]["test_query_to_target_gallery_size"][0])

figure, axes = plt.subplots(1, 2, figsize=(10, 4.4), sharey=True, layout="constrained")
width = 0.8 / len(maps)
for place, (direction, title) in zip(axes, directions.items()):
    for number, name in enumerate(maps):
        rates = np.array(
            [results[name][f"test_{direction}_hit_rate_at_{k}"] for k in scorer.ks]
        )
        means = rates.mean(axis=1)
        spread = [means - rates.min(axis=1), rates.max(axis=1) - means]
        at = np.arange(3) + (number - (len(maps) - 1) / 2) * width
        place.bar(
            at, means, width * 0.92, yerr=spread, label=name, error_kw={"lw": 0.8}
        )
    for position, k in enumerate(scorer.ks):
        place.hlines(
            k / gallery, position - 0.45, position + 0.45, colors="k", linestyles=":"
        )
    place.set_xticks(range(3), [f"R@{k}" for k in scorer.ks])
    place.set_title(f"{title}, gallery {gallery}")
    place.grid(axis="y", alpha=0.3)
    place.set_axisbelow(True)
axes[0].set_ylabel("hit rate")
handles, labels = axes[0].get_legend_handles_labels()
figure.legend(handles, labels, loc="outside lower center", ncols=len(maps), fontsize=8)

# %%
# The same as a table, in per cent.
print(f"{'':28}" + "".join(f"{title:>22}" for title in directions.values()))
for name in maps:
    cells = []
    for direction in directions:
        rates = [
            results[name][f"test_{direction}_hit_rate_at_{k}"].mean() for k in scorer.ks
        ]
        cells.append(" / ".join(f"{100 * rate:.1f}" for rate in rates))
    print(f"{name:28}" + "".join(f"{cell:>22}" for cell in cells))

# %%
# ``alpha="auto"`` picks the penalty with the smallest squared error, and that is not
# the one that ranks best: it shrinks predictions, and what is shrunk lies near to the
# hubs. For ranking choose alpha by recall, as in :ref:`the grid search
# <sphx_glr_auto_examples_plot_grid_search.py>`, or take another map.
