"""
The paper's comparison
======================

*Is cross-modal information retrieval possible without training?* [1]_ maps frozen
sentence embeddings to frozen image embeddings by least squares and by an orthogonal
Procrustes map, then improves on both by contrastive learning of the encoder and by a
gated MLP. Here is that comparison on what comes with the package: emoji and their
names.

The same script takes any folder of captioned pictures and any encoders of the Hugging
Face hub::

    python plot_paper.py FOLDER --text-model bert-base-uncased \\
        --image-model microsoft/resnet-50

.. [1] Choi, Lee, Joe, Gwon, ECIR 2023, arXiv:2304.11095.
"""

# %%
# The data
# --------
#
# A quarter of the pictures, with all their captions, is held out.
import argparse

import matplotlib.pyplot as plt
import numpy as np

from skxmodal import (
    CCAMapper,
    ContrastiveTuner,
    GMLPMapper,
    ImageEncoder,
    LeastSquaresMapper,
    ProcrustesMapper,
    TextEncoder,
)
from skxmodal.datasets import load_captioned_images, load_openmoji
from skxmodal.metrics import compare_retrievers, hit_rate_at_k, retrieval_ranks
from skxmodal.model_selection import group_train_test_split

parser = argparse.ArgumentParser()
parser.add_argument("pictures", nargs="?", help="captioned folder; default: emoji")
parser.add_argument("--text-model", default="all-MiniLM-L6-v2")
parser.add_argument("--image-model", default="efficientnet-lite0")
parser.add_argument("--objective", default="paired", choices=["paired", "captions"])
parser.add_argument("--trainable", default="last:3")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--figure", help="file to write the figure to")
options = parser.parse_args()

if options.pictures is None:
    data = load_openmoji()
    captions, pictures, groups = data.names, data.pictures, data.groups
else:
    data = load_captioned_images(options.pictures)
    captions, pictures, groups = data.captions, data.images, data.groups
captions = np.array(captions, dtype=object)
if options.objective == "captions" and len(np.unique(groups)) == len(captions):
    parser.error(
        "--objective captions needs several captions of a picture, and each has one: "
        "leave --objective paired"
    )
train, test = group_train_test_split(
    np.arange(len(captions)), groups=groups, test_size=0.25, random_state=options.seed
)

# %%
# The encoders
# ------------
#
# Each picture and caption is encoded once and kept on disk. The paper's contrastive
# step tunes the encoder on the training part: the last three blocks of the text's
# network learn to find each caption's picture among those of a batch, whose vectors
# stay as they are.
text_encoder = TextEncoder(options.text_model)
X = text_encoder.transform(captions)
y = ImageEncoder(options.image_model).transform(pictures)
tuner = ContrastiveTuner(
    text_encoder,
    objective=options.objective,
    trainable=options.trainable,
    learning_rate=1e-4,
    max_epochs=6,
    random_state=options.seed,
)
tuner.fit(captions[train], y[train], groups=groups[train])
X_tuned = tuner.transform(captions)

# %%
# The maps
# --------
#
# Least squares has a small ridge here; `LeastSquaresMapper()` alone is the paper's. The
# gMLP starts from the closed-form map it is compared with. Canonical correlations are
# not in the paper; they are the stronger closed form.
gmlp = GMLPMapper("procrustes", random_state=options.seed)
methods = {
    "least squares, alpha=1": (LeastSquaresMapper(alpha=1.0), X),
    "Procrustes": (ProcrustesMapper(), X),
    "Procrustes + contrastive": (ProcrustesMapper(), X_tuned),
    "Procrustes + gMLP": (gmlp, X),
    "Procrustes + contrastive + gMLP": (gmlp, X_tuned),
    "CCA": (CCAMapper(), X),
    "CCA + contrastive": (CCAMapper(), X_tuned),
    "CCA + gMLP": (GMLPMapper("cca", random_state=options.seed), X),
}
ranks, rates = {}, {}
for name, (mapper, texts) in methods.items():
    params = {"groups": groups[train]} if isinstance(mapper, GMLPMapper) else {}
    mapper.fit(texts[train], y[train], **params)
    ranks[name] = retrieval_ranks(mapper, texts[test], y[test], groups=groups[test])
    rates[name] = [
        [100 * hit_rate_at_k(direction, k) for k in (1, 5, 10)]
        for direction in (ranks[name].query_to_target, ranks[name].target_to_query)
    ]

# %%
# The table
# ---------
#
# Hit rates among the held-out pictures, in percent.
gallery = ranks["Procrustes"].query_to_target.gallery_size
print(f"{len(test)} captions, {gallery} pictures; chance R@10 {1000 / gallery:.1f}%")
print(f"{'':32}    text to image        image to text")
print(f"{'':32}" + 2 * "   R@1   R@5  R@10")
for name, (there, back) in rates.items():
    print(f"{name:32}" + "".join(f"{rate:6.1f}" for rate in [*there, *back]))

# %%
# Which differences are more than chance? Each against the closed-form map it improves
# on, by R@10 from text to image.
for name, base in [
    ("Procrustes + contrastive", "Procrustes"),
    ("Procrustes + gMLP", "Procrustes"),
    ("CCA + contrastive", "CCA"),
    ("CCA + gMLP", "CCA"),
]:
    result = compare_retrievers(ranks[name], ranks[base])
    low, high = 100 * result.low, 100 * result.high
    print(f"{name:26} {100 * result.difference:+5.1f}  [{low:+.1f}, {high:+.1f}]")

# %%
# The figure
# ----------
figure, axes = plt.subplots(1, 2, figsize=(9, 3.8), sharey=True, layout="constrained")
places = np.arange(len(methods))
for axis, side, title in zip(axes, (0, 1), ("text to image", "image to text")):
    for number, (k, color) in enumerate(zip((10, 5, 1), ("C0", "C1", "C2"))):
        values = [rates[name][side][2 - number] for name in methods]
        axis.barh(places, values, color=color, label=f"R@{k}")
    axis.set(title=title, xlabel="hit rate (%)", xlim=(0, 100))
axes[0].set_yticks(places, list(methods))
axes[0].invert_yaxis()
axes[1].legend()
if options.figure:
    figure.savefig(options.figure)
