"""
Pictures as they come
=====================

Folders hold rotated photographs, palettes, transparent logos, print colours, 16-bit
scans, and files that are no pictures. What the encoder makes of them, and what it says
of those that it can't read.
"""

# %%
# One picture in many forms, drawn as a viewer would show it that ignores the file's
# notes. The vectors are those of one picture, but for what each form has lost.
import io
import tempfile
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from skxmodal import ImageEncoder
from skxmodal.datasets import load_openmoji
from skxmodal.encoders import PictureError

emoji = load_openmoji()
plain = Image.open(emoji.pictures[emoji.names.index("red apple")]).convert("RGB")


def saved(picture, kind, **options):
    """Return the picture as the bytes of a file."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


turned = Image.Exif()
turned[0x0112] = 6  # "turn a quarter clockwise to view"
see_through = plain.convert("RGBA")
see_through.putalpha(plain.convert("L").point(lambda value: 255 * (value < 250)))
grey = np.asarray(plain.convert("L"), dtype=np.uint16) * 257
forms = {
    "plain": saved(plain, "PNG"),
    "JPEG": saved(plain, "JPEG", quality=85),
    "Exif: turned": saved(plain.rotate(90), "JPEG", quality=85, exif=turned),
    "palette": saved(plain.quantize(16), "PNG"),
    "transparent": saved(see_through, "PNG"),
    "CMYK": saved(plain.convert("CMYK"), "JPEG", quality=85),
    "16-bit grey": saved(Image.fromarray(grey), "PNG"),
    "array": np.asarray(plain),
}
encoder = ImageEncoder("efficientnet-lite0")
vectors = encoder.transform(list(forms.values()))
cosines = vectors @ vectors[0]

figure, axes = plt.subplots(1, len(forms), figsize=(10, 1.9), layout="constrained")
for place, (name, form), cosine in zip(axes, forms.items(), cosines):
    if isinstance(form, bytes):
        stored = Image.open(io.BytesIO(form))
        form = grey if name == "16-bit grey" else stored.convert("RGB")
    place.imshow(form, cmap="gray")
    place.set_title(f"{name}\n{cosine:.3f}", fontsize=9)
    place.set_axis_off()
figure.suptitle("as stored, with the cosine of its vector to that of the plain picture")

# %%
# A file that is no picture is an error that names its row and its path, before anything
# is lost: a :class:`~skxmodal.encoders.PictureError`.
folder = Path(tempfile.mkdtemp())
(folder / "broken.jpg").write_bytes(forms["JPEG"][:2000])
(folder / "apple.jpg").write_bytes(forms["JPEG"])
paths = [folder / "apple.jpg", folder / "broken.jpg"]
try:
    encoder.transform(paths)
except PictureError as error:
    print(str(error).replace(str(folder), "folder"))

# %%
# With ``on_error="nan"`` the other pictures are encoded, the row becomes NaN, and one
# warning says how many and which.
tolerant = ImageEncoder("efficientnet-lite0", on_error="nan")
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    rows = tolerant.transform(paths)
print(np.isnan(rows).all(axis=1))
print(str(caught[0].message).replace(str(folder), "folder"))

# %%
# Vectors are kept in the embedding cache, an
# :class:`~skxmodal.encoders.EmbeddingCache`, by the content of the file and everything
# that changes the vector: a copy under another name is found there. Where the cache's
# folder can't be used, a :class:`~skxmodal.encoders.CacheWarning` says so, and encoding
# goes on without it.
(folder / "copy.jpg").write_bytes(forms["JPEG"])
copy, original = encoder.transform([folder / "copy.jpg", folder / "apple.jpg"])
print(np.array_equal(copy, original))
