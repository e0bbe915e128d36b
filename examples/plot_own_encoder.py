"""
Your own encoder: sounds
========================

Nothing in a retriever knows about pictures. Here words find *sounds*: the target
encoder is a function of a few lines, wrapped in scikit-learn's
:class:`~sklearn.preprocessing.FunctionTransformer`.
"""

# %%
# The sounds are made here: a pitch, a timbre and a course, with noise and variation, a
# second each. For each property there are several words. The first of each list is
# *never* used to describe a sound for the fit: it is kept for the queries.
import matplotlib.pyplot as plt
import numpy as np
from scipy.signal import spectrogram
from sklearn.preprocessing import FunctionTransformer

from skxmodal import CCAMapper, CrossModalRetriever, TextEncoder

RATE = 8000
SECONDS = np.arange(RATE) / RATE
PITCHES = {
    120: ["deep", "low", "bass"],
    350: ["middle", "medium"],
    900: ["shrill", "high"],
}
COURSES = {
    "up": ["climbing", "rising", "going up"],
    "down": ["sinking", "falling", "dropping"],
    "level": ["constant", "steady", "held"],
    "trill": ["trembling", "wavering", "with vibrato"],
}
TIMBRES = {
    "pure": ["gentle", "pure", "soft", "flute-like"],
    "rough": ["rough", "buzzing", "harsh"],
}
FACTORS = {
    "up": 1 + SECONDS,
    "down": 2 - SECONDS,
    "level": np.ones(RATE),
    "trill": 1 + 0.15 * np.sin(2 * np.pi * 5 * SECONDS),
}


def make_sound(pitch, course, timbre, rng):
    frequency = pitch * rng.uniform(0.85, 1.15) * FACTORS[course]
    phase = 2 * np.pi * np.cumsum(frequency) / RATE
    wave = np.sin(phase)
    for overtone in range(2, 12 if timbre == "rough" else 2):
        wave += np.where(overtone * frequency < RATE / 2, np.sin(overtone * phase), 0)
    return (wave / wave.std() + rng.normal(scale=0.3, size=RATE)).astype(np.float32)


def describe(pitch, course, timbre, rng):
    words = [
        rng.choice(words[1:])
        for words in (PITCHES[pitch], TIMBRES[timbre], COURSES[course])
    ]
    return rng.choice(["a {} {} sound, {}", "{}, {} tone, {}"]).format(*words)


rng = np.random.default_rng(0)
properties = [
    (
        int(rng.choice(list(PITCHES))),
        rng.choice(list(COURSES)),
        rng.choice(list(TIMBRES)),
    )
    for _ in range(900)
]
sounds = np.array([make_sound(*choice, rng) for choice in properties])
texts = [describe(*choice, rng) for choice in properties]
print(texts[:3])

# %%
# The encoder: the logarithm of a spectrogram, in 24 bands and 10 steps of time. Two
# thirds of the sounds fit the map, the other third is searched.


def spectra(waves):
    """Return log energies of 24 bands in 10 steps of time, a row a sound."""
    _, _, energy = spectrogram(waves, fs=RATE, nperseg=800, noverlap=0)
    edges = np.unique(np.geomspace(5, energy.shape[1] - 1, 25).astype(int))
    bands = np.add.reduceat(energy, edges[:-1], axis=1)
    return np.log(bands + 1e-6).reshape(len(waves), -1).astype(np.float32)


search = CrossModalRetriever(
    CCAMapper(),
    query_encoder=TextEncoder("all-MiniLM-L6-v2"),
    target_encoder=FunctionTransformer(spectra),
)
search.fit(texts[:600], sounds[:600]).index(sounds[600:])

# %%
# Ask for all 24 combinations, in words that the captions used and in the words that
# were kept back. Many sounds fit each, so the question is how many of the first five
# are right in each property.
asked = [
    (pitch, course, timbre)
    for pitch in PITCHES
    for course in COURSES
    for timbre in TIMBRES
]


def ask(word):
    """Return the queries with each list's word of that number, and the first five."""
    queries = [
        f"a {PITCHES[pitch][word]} {TIMBRES[timbre][word]} sound, "
        f"{COURSES[course][word]}"
        for pitch, course, timbre in asked
    ]
    return queries, search.kneighbors(queries, n_neighbors=5, return_distance=False)


known_queries, known_rows = ask(1)
new_queries, new_rows = ask(0)
for label, rows in (
    ("words of the captions", known_rows),
    ("words kept back", new_rows),
):
    right = np.array(properties[600:])[rows] == np.array(asked)[:, np.newaxis, :]
    pitch, course, timbre = right.mean(axis=(0, 1))
    print(f"{label:22} pitch {pitch:.0%}, course {course:.0%}, timbre {timbre:.0%}")
print(f"{'chance':22} pitch {1 / 3:.0%}, course {1 / 4:.0%}, timbre {1 / 2:.0%}")

# %%
# With words that were heard before nearly all are right. New words carry over as far
# as the *text* encoder thinks them alike: "climbing" is near to "rising" for it, but
# "deep" is not near to "bass" in what it says about sound. 600 captions in a dozen
# words make a map that knows a dozen words; varied captions make a better one.
#
# Three of the searches, as spectrograms.
shown = [(120, "level", "rough"), (900, "up", "pure"), (350, "trill", "rough")]
figure = plt.figure(figsize=(10, 6.4), layout="constrained")
for choice, part in zip(shown, figure.subfigures(3, 1)):
    number = asked.index(choice)
    part.suptitle(f"“{known_queries[number]}”", fontsize=11, weight="bold")
    line = part.subplots(1, 5, sharey=True)
    for place, row in zip(line, known_rows[number]):
        place.specgram(sounds[600 + row], NFFT=400, Fs=RATE, noverlap=300, cmap="magma")
        place.set_title(texts[600 + row], fontsize=7)
        place.set_xticks([0.1, 0.9], ["0", "1 s"])
    line[0].set_ylabel("Hz")
