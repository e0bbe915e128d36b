"""
Text finds emoji
================

A sentence encoder and an image network that never met, a map fitted on three quarters
of the emoji, and words that are no emoji's name. All pictures shown are among the
quarter that the map was not fitted on.
"""

# %%
# The data: 1,923 emoji, each with its English name as its one caption. Emoji that are
# drawn alike share a group: they stay on one side of the split, and are one item of the
# gallery.
import tempfile
from pathlib import Path

import numpy as np

from skxmodal import CCAMapper, CrossModalRetriever, ImageEncoder, TextEncoder
from skxmodal.datasets import load_openmoji
from skxmodal.inspection import PictureHitsDisplay
from skxmodal.model_selection import group_train_test_split
from skxmodal.persistence import PersistenceError, load, save

emoji = load_openmoji()
train_names, test_names, train_pictures, test_pictures = group_train_test_split(
    emoji.names, emoji.pictures, groups=emoji.groups, test_size=0.25, random_state=0
)
print(len(train_names), "pairs to fit,", len(test_names), "to search")

# %%
# Fit, and put the held-out pictures in the gallery in place of the fitted ones.
search = CrossModalRetriever(
    CCAMapper(),
    query_encoder=TextEncoder("all-MiniLM-L6-v2"),
    target_encoder=ImageEncoder("efficientnet-lite0"),
)
search.fit(train_names, train_pictures)
search.index(test_pictures)
score = search.score(test_names, test_pictures)
print(f"recall@10 in a gallery of {len(search.gallery_ids_)}: {score:.2f}")

# %%
# Ask for things by what they are for. Three of the queries fail: the map finds vehicles
# but doesn't count their wheels, so cars come first; the last two do not name what is
# looked for, and the sentence encoder has little to hold on to.
queries = [
    "something to keep the rain off",
    "a sweet thing for a birthday",
    "a vehicle with two wheels",
    "people in love",
    "it lives in the sea",
    "it flies",
]
PictureHitsDisplay.from_estimator(search, queries, n_neighbors=6)

# %%
# The other way round: which names fit a picture? The gallery of that direction holds
# the names of the training part; the picture is a held-out one.
best = search.gallery_ids_[search.predict(queries[:1])]
rows = search.inverse_kneighbors(best, n_neighbors=5, return_distance=False)
print([train_names[row] for row in rows[0]])

# %%
# Keep it: one folder, a manifest in JSON and arrays as safetensors, no pickle. A file
# that was changed since is refused with a
# :class:`~skxmodal.persistence.PersistenceError`.
folder = Path(tempfile.mkdtemp()) / "model"
save(search, folder)
again = load(folder)
print(np.array_equal(again.kneighbors(queries)[1], search.kneighbors(queries)[1]))

arrays = next(folder.glob("*.safetensors"))
content = bytearray(arrays.read_bytes())
content[-1] ^= 1
arrays.write_bytes(content)
try:
    load(folder)
except PersistenceError as error:
    print(str(error).replace(str(folder), "model"))
