"""
Is it better? Reports, intervals and a paired test
==================================================

Two retrievers, one test set, and the question whether the difference is more than
chance.
"""

# %%
# Fit both on three quarters of the emoji. The other quarter is the test set; emoji that
# are drawn alike are one picture, by their groups.
import numpy as np

from skxmodal import (
    CCAMapper,
    CrossModalRetriever,
    ImageEncoder,
    ProcrustesMapper,
    TextEncoder,
)
from skxmodal.datasets import load_openmoji
from skxmodal.inspection import RecallCurveDisplay
from skxmodal.metrics import compare_retrievers, retrieval_ranks, retrieval_report
from skxmodal.model_selection import check_leakage, group_train_test_split

emoji = load_openmoji()
X = TextEncoder("all-MiniLM-L6-v2").transform(emoji.names)
y = ImageEncoder("efficientnet-lite0").transform(emoji.pictures)
train, test = group_train_test_split(
    np.arange(len(X)), groups=emoji.groups, test_size=0.25, random_state=0
)
procrustes = CrossModalRetriever(ProcrustesMapper()).fit(X[train], y[train])
cca = CrossModalRetriever(CCAMapper()).fit(X[train], y[train])

# %%
# No picture may stand on both sides, or the score is too good. Scorers and reports
# check it, as does this function, and give a
# :class:`~skxmodal.metrics.LeakageWarning`.
check_leakage(emoji.groups[train], emoji.groups[test])

# %%
# The report says all that a figure needs: the direction, the gallery, the captions, the
# level of chance, and 95% intervals that resample pictures.
groups = emoji.groups[test]
print(retrieval_report(cca, X[test], y[test], groups=groups))

# %%
# The same as curves over K, each a :class:`~skxmodal.inspection.RecallCurve`.
display = RecallCurveDisplay.from_estimator(
    cca, X[test], y[test], groups, random_state=0
)
display.figure_.set_size_inches(7, 4.2)

# %%
# Both retrievers answer the same queries, so their difference is tested pair by pair: a
# permutation test at the level of pictures. The result is a
# :class:`~skxmodal.metrics.Comparison`.
print(compare_retrievers(procrustes, cca, X[test], y[test], groups=groups))

# %%
# All of these rest on the ranks of the correct items: a
# :class:`~skxmodal.metrics.RetrievalRanks`, which holds a
# :class:`~skxmodal.metrics.Ranks` for each direction. They can be counted once and used
# for every metric. Which pictures stand worst?
ranks = retrieval_ranks(cca, X[test], y[test], groups).query_to_target
worst = np.argsort(-ranks.best)[:5]
print([(emoji.names[test[row]], int(ranks.best[row])) for row in worst])
