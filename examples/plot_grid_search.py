"""
Grid search
===========

Which map, and which parameters? A retriever is an ordinary estimator, so
:class:`~sklearn.model_selection.GridSearchCV` answers.
:class:`~skxmodal.model_selection.MapperSearchCV` gives the same answer from one pass
over the data.
"""

# %%
# Tuned on three quarters of the emoji; the last quarter is looked at once, at the end.
import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import GridSearchCV, GroupKFold

from skxmodal import (
    CCAMapper,
    CrossModalRetriever,
    ImageEncoder,
    LeastSquaresMapper,
    ProcrustesMapper,
    RecallScorer,
    TextEncoder,
)
from skxmodal.datasets import load_openmoji
from skxmodal.metrics import hit_rate_at_k, retrieval_ranks
from skxmodal.model_selection import MapperSearchCV, group_train_test_split

emoji = load_openmoji()
X = TextEncoder("all-MiniLM-L6-v2").transform(emoji.names)
y = ImageEncoder("efficientnet-lite0").transform(emoji.pictures)
X, X_test, y, y_test, groups, groups_test = group_train_test_split(
    X, y, emoji.groups, groups=emoji.groups, test_size=0.25, random_state=0
)
fold_size = len(np.unique(groups)) // 4

# %%
# A list of grids, because each map has its own parameters. ``groups`` keeps emoji that
# are drawn alike in one fold.
alphas = np.geomspace(0.01, 100, 5)
grid = [
    {"mapper": [LeastSquaresMapper()], "mapper__alpha": alphas},
    {"mapper": [ProcrustesMapper()]},
    {"mapper": [CCAMapper()], "mapper__n_components": [64, 128, 256]},
]
started = time.perf_counter()
search = GridSearchCV(
    CrossModalRetriever(),
    grid,
    scoring=RecallScorer(k=10, direction="both"),
    cv=GroupKFold(4),
)
search.fit(X, y, groups=groups)
n_candidates = len(search.cv_results_["params"])
print(f"{n_candidates} candidates: {time.perf_counter() - started:.1f} s")
print("best:", search.best_params_)

# %%
# The same in one pass: the moments of each fold are summed once, and every candidate is
# solved from them. The scores are equal.
started = time.perf_counter()
one_pass = MapperSearchCV(
    CrossModalRetriever(),
    grid,
    scoring=RecallScorer(k=10, direction="both"),
    cv=GroupKFold(4),
)
one_pass.fit(X, y, groups=groups)
print(f"in one pass: {time.perf_counter() - started:.1f} s")
difference = np.abs(
    one_pass.cv_results_["mean_test_score"] - search.cv_results_["mean_test_score"]
)
print(f"largest difference of scores: {difference.max():.1e}")

# %%
# The penalty of least squares, with the other maps as lines. The band is the standard
# error over the folds.
results = one_pass.cv_results_
names = np.array([type(p["mapper"]).__name__ for p in results["params"]])
mean, error = results["mean_test_score"], results["std_test_score"] / 2

figure, place = plt.subplots(figsize=(7, 4.2))
ridge = names == "LeastSquaresMapper"
place.plot(alphas, mean[ridge], marker="o", label="least squares")
place.fill_between(
    alphas, (mean - error)[ridge], (mean + error)[ridge], color="C0", alpha=0.15
)
for number, row in enumerate(np.flatnonzero(~ridge), start=1):
    kept = results["params"][row].get("mapper__n_components")
    label = "Procrustes" if kept is None else f"CCA, {kept} components"
    place.axhline(mean[row], color=f"C{number}", label=label)
place.set_xscale("log")
place.set_xlabel("alpha of least squares, relative to the mean variance of X")
place.set_ylabel(f"recall@10, both directions\nfolds of some {fold_size} pictures")
place.legend()
place.grid(alpha=0.3)
figure.tight_layout()

# %%
# The one look at the last quarter, with the chosen candidate fitted on the other three.
chosen = one_pass.best_estimator_
ranks = retrieval_ranks(chosen, X_test, y_test, groups_test)
for direction, found in ranks.items():
    print(
        f"{type(chosen.mapper).__name__}, {direction}: {hit_rate_at_k(found, 10):.3f} "
        f"in a gallery of {found.gallery_size}"
    )
