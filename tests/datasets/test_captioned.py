"""Captions files in every layout, and what can be wrong with them."""

import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from skxmodal.datasets import load_captioned_images, load_openmoji


@pytest.fixture(scope="module")
def emoji_pictures():
    return load_openmoji(size=32)


@pytest.fixture
def pictures(tmp_path, emoji_pictures):
    """Make a folder with real pictures of the given names."""

    def make(*names, folder="."):
        for name, source in zip(names, emoji_pictures.pictures, strict=False):
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(source.read_bytes())
        return tmp_path

    return make


def karpathy(*images):
    return {
        "dataset": "tiny",
        "images": [
            {
                "filename": name,
                "split": split,
                "sentences": [{"raw": raw, "tokens": raw.split()} for raw in sentences],
            }
            for name, split, sentences in images
        ],
    }


def write_json(path, content):
    path.write_text(json.dumps(content))
    return path


def test_captions_csv(pictures):
    folder = pictures("a.png", "b.png")
    (folder / "captions.csv").write_text(
        'image,caption\na.png,"one, two"\nb.png,  three \na.png,"said ""four"""\n'
    )
    data = load_captioned_images(folder)
    assert data.captions == ["one, two", "three", 'said "four"']
    assert data.images == [folder / "a.png", folder / "b.png", folder / "a.png"]
    assert_array_equal(data.groups, [0, 1, 0])
    assert data.groups.dtype == np.int64
    assert data.splits is None
    assert data.missing == []
    assert data.image_folder == folder
    assert data.DESCR.startswith("3 captions of 2 pictures")
    by_file = load_captioned_images(str(folder / "captions.csv"))
    assert by_file.captions == data.captions
    assert by_file.images == data.images


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize(
    "header",
    [("image", "caption"), ("Caption", "Image"), ("image_name", "n", "comment")],
)
def test_csv_headers_and_separators(pictures, separator, header):
    folder = pictures("a.png")
    row = ["a.png" if n.lower().startswith("image") else "words" for n in header]
    text = separator.join(header) + "\n" + separator.join(row) + "\n"
    (folder / "x.csv").write_text(text)
    data = load_captioned_images(folder / "x.csv")
    assert data.captions == ["words"]
    assert data.images == [folder / "a.png"]


@pytest.mark.parametrize(
    ("encoding", "given_encoding"),
    [
        ("utf-8", None),
        ("utf-8-sig", None),
        ("utf-16", None),
        ("utf-8-sig", "cp1252"),
        ("cp1252", "cp1252"),
    ],
)
def test_encodings(pictures, encoding, given_encoding):
    folder = pictures("a.png")
    text = "image,caption\r\na.png,ein Bär — naïve\r\n"
    (folder / "captions.csv").write_bytes(text.encode(encoding))
    data = load_captioned_images(folder, encoding=given_encoding)
    assert data.captions == ["ein Bär — naïve"]


def test_captions_over_lines_and_in_other_scripts(pictures):
    folder = pictures("a.png", "b.png")
    (folder / "captions.csv").write_text(
        'image,caption\na.png,"first\nsecond"\n\nb.png,كلب 🐕 على الشاطئ\n'
    )
    data = load_captioned_images(folder)
    assert data.captions == ["first\nsecond", "كلب 🐕 على الشاطئ"]


def test_csv_split_column(pictures):
    folder = pictures("a.png", "b.png")
    (folder / "captions.csv").write_text(
        "image,caption,split\na.png,one,train\nb.png,two,test\n"
    )
    assert load_captioned_images(folder).splits == ["train", "test"]
    data = load_captioned_images(folder, split="test")
    assert data.captions == ["two"]
    assert_array_equal(data.groups, [0])


def test_flickr8k_token(pictures):
    folder = pictures("1_a.jpg", "2#b.jpg", folder="Flicker8k_Dataset")
    (folder / "Flickr8k.token.txt").write_text(
        "1_a.jpg#0\tA dog .\n1_a.jpg#1\tTwo\tdogs .\n2#b.jpg#0\tA cat .\n"
    )
    for source in (folder, folder / "Flickr8k.token.txt"):
        data = load_captioned_images(source)
        assert data.captions == ["A dog .", "Two\tdogs .", "A cat ."]
        assert_array_equal(data.groups, [0, 0, 1])
        assert data.images[2] == folder / "Flicker8k_Dataset" / "2#b.jpg"


def test_kaggle_captions_txt(pictures):
    folder = pictures("a.jpg", folder="Images")
    (folder / "captions.txt").write_text('image,caption\na.jpg,"A dog , barking ."\n')
    data = load_captioned_images(folder)
    assert data.captions == ["A dog , barking ."]
    assert data.image_folder == folder / "Images"


def test_karpathy_json(pictures):
    folder = pictures("a.jpg", "b.jpg", "c.jpg", folder="images")
    path = write_json(
        folder / "dataset_tiny.json",
        karpathy(
            ("a.jpg", "train", ["one", "two"]),
            ("b.jpg", "test", ["three"]),
            ("c.jpg", "restval", ["four"]),
        ),
    )
    data = load_captioned_images(folder)
    assert data.captions == ["one", "two", "three", "four"]
    assert data.splits == ["train", "train", "test", "restval"]
    assert load_captioned_images(path, split="test").captions == ["three"]
    both = load_captioned_images(path, split=("train", "restval"))
    assert both.captions == ["one", "two", "four"]
    assert_array_equal(both.groups, [0, 0, 1])


def test_karpathy_filepath(pictures):
    folder = pictures("a.jpg", folder="val2014")
    content = karpathy(("a.jpg", "val", ["one"]))
    content["images"][0]["filepath"] = "val2014"
    path = write_json(folder / "dataset_coco.json", content)
    assert load_captioned_images(path).images == [folder / "val2014" / "a.jpg"]


def test_the_layout_of_coco_itself(pictures):
    folder = pictures("1.jpg", "2.jpg", folder="val2017")
    pictures("3.jpg", folder="train2017")
    (folder / "annotations").mkdir()
    content = {
        "images": [{"id": n, "file_name": f"{n}.jpg"} for n in (1, 2)],
        "annotations": [
            {"image_id": 2, "caption": "two"},
            {"image_id": 1, "caption": "one"},
        ],
    }
    path = write_json(folder / "annotations" / "captions_val2017.json", content)
    for source in (folder, folder / "annotations", path):
        data = load_captioned_images(source)
        assert data.captions == ["one", "two"]
        assert data.images == [folder / "val2017" / f"{n}.jpg" for n in (1, 2)]
    write_json(folder / "annotations" / "captions_train2017.json", content)
    with pytest.raises(ValueError, match=r"annotations holds several captions files"):
        load_captioned_images(folder)


def test_the_pictures_folder_is_found_by_any_row(pictures):
    folder = pictures("b.jpg", folder="Images")
    (folder / "captions.csv").write_text("image,caption\na.jpg,one\nb.jpg,two\n")
    with pytest.warns(UserWarning, match=r"1 picture is not in .*Images.*a\.jpg"):
        data = load_captioned_images(folder, on_missing="warn")
    assert data.images == [folder / "Images" / "b.jpg"]


def test_coco_json(pictures):
    folder = pictures("a.jpg", "b.jpg", folder="val2017")
    path = write_json(
        folder / "captions_val2017.json",
        {
            "images": [
                {"id": 9, "file_name": "a.jpg"},
                {"id": 4, "file_name": "b.jpg"},
            ],
            "annotations": [
                {"id": 1, "image_id": 4, "caption": "three"},
                {"id": 2, "image_id": 9, "caption": "one\n"},
                {"id": 3, "image_id": 9, "caption": "two"},
            ],
        },
    )
    data = load_captioned_images(path)
    assert data.captions == ["one", "two", "three"]
    assert_array_equal(data.groups, [0, 0, 1])
    elsewhere = load_captioned_images(path, image_folder=folder / "val2017")
    assert elsewhere.images == data.images


def test_file_names_are_the_captions(pictures):
    folder = pictures("a_red  panda.PNG", "sub/two dogs.jpg", ".hidden.png")
    data = load_captioned_images(folder)
    assert data.captions == ["a red panda", "two dogs"]
    assert data.images == [folder / "a_red  panda.PNG", folder / "sub/two dogs.jpg"]


def test_files_left_out_are_said(pictures):
    folder = pictures("a cat.png")
    (folder / "notes.md").write_text("x")
    (folder / "a dog.heic").write_text("x")
    with pytest.warns(UserWarning, match=r"2 files .* left out: 1 \.heic, 1 \.md"):
        data = load_captioned_images(folder)
    assert data.captions == ["a cat"]


def test_one_picture_under_two_spellings_is_one_group(pictures):
    folder = pictures("a.png")
    (folder / "captions.csv").write_text("image,caption\na.png,x\n./a.png,y\n")
    assert_array_equal(load_captioned_images(folder).groups, [0, 0])


def test_repeated_rows_are_kept(pictures):
    folder = pictures("a.png")
    (folder / "captions.csv").write_text("image,caption\na.png,x\na.png,x\n")
    data = load_captioned_images(folder)
    assert data.captions == ["x", "x"]
    assert_array_equal(data.groups, [0, 0])


def test_missing_pictures_are_named(pictures):
    folder = pictures("a.png")
    (folder / "captions.csv").write_text(
        "image,caption\na.png,x\ngone.png,y\ngone.png,z\n" + "w" * 400 + ".png,v\n"
    )
    expected = r"2 pictures are not in .*3 captions without one: gone\.png \(line 3\)"
    with pytest.raises(FileNotFoundError, match=expected):
        load_captioned_images(folder)
    with pytest.warns(UserWarning, match=expected):
        data = load_captioned_images(folder, on_missing="warn")
    assert data.captions == ["x"]
    assert data.missing == [folder / "gone.png", folder / ("w" * 400 + ".png")]


def test_no_picture_at_all_is_an_error_either_way(pictures):
    folder = pictures("a.png")
    (folder / "captions.csv").write_text("image,caption\ngone.png,y\n")
    with pytest.raises(FileNotFoundError, match="Give their folder as image_folder"):
        load_captioned_images(folder, on_missing="warn")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("../secret.png", "leads out"),
        ("x/../../secret.png", "leads out"),
        ("..\\secret.png", "leads out"),
        ("/etc/passwd", "absolute path"),
        ("C:\\secret.png", "absolute path"),
        ("\\\\host\\share\\a.png", "absolute path"),
        ("a\0.png", "NUL"),
        ("", "empty"),
    ],
)
def test_names_that_leave_the_folder_are_refused(pictures, name, problem):
    folder = pictures("inside/a.png", "secret.png")
    content = karpathy((name, "train", ["x"]))
    path = write_json(folder / "inside" / "dataset.json", content)
    with pytest.raises(ValueError, match=rf"images\[0\].*{problem}"):
        load_captioned_images(path, on_missing="warn")


def test_absolute_paths_inside_the_folder_are_taken(pictures):
    folder = pictures("a.png")
    (folder / "captions.csv").write_text(f"image,caption\n{folder / 'a.png'},x\n")
    assert load_captioned_images(folder).images == [folder / "a.png"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"line 1: expected a header|has no captions"),
        (b"image,caption\n", "has no captions"),
        (b"a.png,a dog\n", "line 1: expected a header such as 'image,caption'"),
        (b"image,image,caption\n", "line 1: expected a header"),
        (b"image,caption\na.png,a, b\n", "line 2: 3 fields where the header has 2"),
        (b"image,caption\na.png\n", "line 2: 1 fields"),
        (b"image,caption\na.png,\n", "line 2: the caption of 'a.png' is empty"),
        (b'image,caption\na.png,x\na.png,"open\n', "line 3: not valid CSV"),
        (b"image,caption\na.png,b\xe4r\n", "line 2: byte 0xe4 is not utf-8"),
        (b"image,caption\na.png," + b"x" * 200_000, "line 2: not valid CSV"),
    ],
)
def test_damaged_csv(pictures, content, message):
    folder = pictures("a.png")
    (folder / "captions.csv").write_bytes(content)
    with pytest.raises(ValueError, match=rf"captions\.csv.*({message})"):
        load_captioned_images(folder)


def test_damaged_token_file(pictures):
    folder = pictures("a.jpg")
    (folder / "x.token.txt").write_text("a.jpg#0\tfine\na.jpg\tno number\n")
    with pytest.raises(ValueError, match=r"line 2: expected 'picture\.jpg#0<tab>"):
        load_captioned_images(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "nested too deeply|not valid JSON"),
        ("[]", "expected an object with a list 'images'"),
        ('{"images": 3}', "expected an object with a list 'images'"),
        ('{"images": []}', "has no captions"),
        ('{"images": [3]}', "expected an object with a list 'images'"),
        ('{"images": [{"filename": "a.jpg"}]}', r"images\[0\]: expected 'sentences'"),
        (
            '{"images": [{"filename": "a.jpg", "sentences": []}]}',
            r"images\[0\]: 'a.jpg' has no sentences",
        ),
        (
            '{"images": [{"filename": "a.jpg", "sentences": ["x"]}]}',
            r"images\[0\].sentences\[0\]: expected 'raw' as str",
        ),
        (
            '{"images": [{"filename": "a.jpg", "split": 1, "sentences": []}]}',
            "must be text",
        ),
        ('{"images": [], "annotations": {}}', "'annotations' must be a list"),
        (
            '{"images": [{"id": 1, "file_name": "a.jpg"},'
            ' {"id": 1, "file_name": "b.jpg"}], "annotations": []}',
            r"images\[1\]: the id 1 is there twice",
        ),
        (
            '{"images": [{"id": 1, "file_name": "a.jpg"}],'
            ' "annotations": [{"image_id": 2, "caption": "x"}]}',
            r"annotations\[0\]: no image has the id 2",
        ),
        (
            '{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": []}',
            "1 of 1 images have no caption, the first is 'a.jpg'",
        ),
        (
            '{"images": [{"id": true, "file_name": "a.jpg"}], "annotations": []}',
            r"images\[0\]: expected 'id' as int or str",
        ),
    ],
)
def test_damaged_json(pictures, content, message):
    folder = pictures("a.jpg")
    (folder / "captions.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        load_captioned_images(folder)


def test_source_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_captioned_images(tmp_path / "nothing")


def test_source_of_no_known_layout(tmp_path):
    (tmp_path / "x.docx").write_text("x")
    with pytest.raises(ValueError, match="no known layout"):
        load_captioned_images(tmp_path / "x.docx")


def test_folder_with_nothing_in_it(tmp_path):
    with pytest.raises(ValueError, match="neither a captions file"):
        load_captioned_images(tmp_path)


def test_several_captions_files(pictures):
    folder = pictures("a.png")
    (folder / "captions.csv").write_text("image,caption\na.png,x\n")
    (folder / "captions.json").write_text("{}")
    with pytest.raises(ValueError, match=r"several captions files: captions\.csv, "):
        load_captioned_images(folder)
    assert load_captioned_images(folder / "captions.csv").captions == ["x"]


def test_arguments_that_do_not_fit(pictures):
    folder = pictures("a cat.png")
    with pytest.raises(ValueError, match="on_missing must be 'raise' or 'warn'"):
        load_captioned_images(folder, on_missing="skip")
    with pytest.raises(ValueError, match="has no splits"):
        load_captioned_images(folder, split="train")
    with pytest.raises(ValueError, match="image_folder is for a captions file"):
        load_captioned_images(folder, image_folder=folder)
    (folder / "captions.csv").write_text("image,caption,split\na cat.png,x,train\n")
    for split in ("test", (), ("train", "test")):
        with pytest.raises(ValueError, match="has the splits train"):
            load_captioned_images(folder, split=split)
    with pytest.raises(ValueError, match="not one Python knows"):
        load_captioned_images(folder, encoding="klingon")
    with pytest.raises(FileNotFoundError, match="is no folder"):
        load_captioned_images(folder, image_folder=folder / "none")


def test_a_file_name_that_is_no_caption(pictures):
    folder = pictures("___.png")
    with pytest.raises(ValueError, match="holds no caption"):
        load_captioned_images(folder)


csv_like = st.lists(
    st.sampled_from(
        ["image", "caption", "a.png", "..", "/", '"', ",", "\n", "\r", "\t", "\0", " "]
        + ["#0", "é", "{", "}", "[", "]", ":", '"images"', "\ufeff", "split", "x"]
    ),
    max_size=30,
).map("".join)


@settings(max_examples=5 * settings().max_examples, deadline=None)
@given(
    content=csv_like | st.binary(max_size=60), ending=st.sampled_from(["csv", "txt"])
)
def test_any_text_gives_captions_or_a_documented_error(
    tmp_path_factory, emoji_pictures, content, ending
):
    folder = _folder_with_picture(tmp_path_factory, emoji_pictures)
    raw = content if isinstance(content, bytes) else content.encode()
    path = folder / f"captions.{ending}"
    path.write_bytes(raw)
    _loads_or_says_why(path)


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["a.png", "../x", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "images",
                    "annotations",
                    "id",
                    "image_id",
                    "file_name",
                    "filename",
                    "caption",
                    "sentences",
                    "raw",
                    "split",
                    "filepath",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=5 * settings().max_examples, deadline=None)
@given(images=json_like, annotations=json_like, is_coco=st.booleans())
def test_any_json_gives_captions_or_a_documented_error(
    tmp_path_factory, emoji_pictures, images, annotations, is_coco
):
    folder = _folder_with_picture(tmp_path_factory, emoji_pictures)
    content = {"images": [images], "annotations": annotations}
    if not is_coco:
        del content["annotations"]
    _loads_or_says_why(write_json(folder / "captions.json", content))


def _folder_with_picture(tmp_path_factory, emoji_pictures):
    folder = tmp_path_factory.getbasetemp() / "fuzz"
    if not folder.exists():
        folder.mkdir()
        (folder / "a.png").write_bytes(emoji_pictures.pictures[0].read_bytes())
    return folder


def _loads_or_says_why(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            data = load_captioned_images(path, on_missing="warn")
        except (ValueError, FileNotFoundError) as error:
            message = str(error)
            assert str(path.parent) in message
            return
    assert len(data.captions) == len(data.images) == len(data.groups) > 0
    assert all(path.is_file() for path in data.images)
