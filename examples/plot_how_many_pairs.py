"""
How many pairs do I need?
=========================

The recall of a map as the number of pairs grows, for maps of few and of many degrees
of freedom. Where the curve still climbs at its right end, more captions will help
more than another method.
"""

# %%
# Three splits hold a quarter of the emoji out, each for all sizes; the training pairs
# are drawn from the other three quarters.
import math
import warnings

from scipy.linalg import LinAlgWarning

from skxmodal import (
    CCAMapper,
    ImageEncoder,
    LeastSquaresMapper,
    ProcrustesMapper,
    RecallScorer,
    TextEncoder,
)
from skxmodal.datasets import load_openmoji
from skxmodal.inspection import PairsCurveDisplay

emoji = load_openmoji()
X = TextEncoder("all-MiniLM-L6-v2").transform(emoji.names)
y = ImageEncoder("efficientnet-lite0").transform(emoji.pictures)

# Least squares is used with too few pairs here on purpose, of which it warns.
warnings.filterwarnings("ignore", category=LinAlgWarning)

maps = {
    "least squares": LeastSquaresMapper(),
    "least squares, alpha='auto'": LeastSquaresMapper(alpha="auto"),
    "Procrustes": ProcrustesMapper(),
    "CCA": CCAMapper(),
}

# %%
# Plain least squares is worst where the number of pairs is near the number of
# dimensions of the text (384, dashed): there it fits all noise exactly. Fewer pairs
# are better for it than that, since the solution of least norm is a regularised one.
display = PairsCurveDisplay.from_estimator(
    maps,
    X,
    y,
    groups=emoji.groups,
    sizes=[50, 100, 200, 400, 800, 1400],
    scoring=RecallScorer(k=10),
    n_splits=3,
    random_state=0,
)
# The splits hold a quarter of the distinct pictures out, rounded up.
gallery_size = math.ceil(len(set(emoji.groups)) / 4)
display.ax_.axvline(X.shape[1], color="0.5", linestyle="--", linewidth=1)
display.ax_.axhline(10 / gallery_size, color="k", linestyle=":", linewidth=1)
display.ax_.set_ylabel(f"recall@10, gallery {gallery_size}; dotted: chance")
display.figure_.set_size_inches(7.5, 4.5)
