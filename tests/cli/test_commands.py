"""The commands on real pictures with the packaged models."""

import base64
import contextlib
import io
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import termios
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skxmodal import (
    CCAMapper,
    CrossModalRetriever,
    ImageEncoder,
    ProcrustesMapper,
    TextEncoder,
)
from skxmodal.cli import _kitty
from skxmodal.cli._fonts import font_for
from skxmodal.datasets import load_captioned_images, make_paired_embeddings
from skxmodal.mappers import MAPPERS
from skxmodal.neighbors import CSLS
from skxmodal.persistence import load, save

COMMANDS = ["demo", "fit", "search", "serve", "evaluate", "cache"]


def test_search_finds_what_python_finds(model, photos, skxmodal_command):
    queries = ["an animal", "a drawing of a vehicle"]
    result = skxmodal_command("search", model, *queries, "-k", 3, "--json")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    answers = json.loads(result.stdout)

    data = load_captioned_images(photos)
    search = CrossModalRetriever(
        CCAMapper(), query_encoder=TextEncoder(), target_encoder=ImageEncoder()
    ).fit(data.captions, data.images)
    distances, rows = search.kneighbors(queries, n_neighbors=3)
    for answer, query, d, r in zip(answers, queries, distances, rows, strict=True):
        assert answer["query"] == query
        hits = answer["hits"]
        assert [hit["rank"] for hit in hits] == [1, 2, 3]
        np.testing.assert_allclose([hit["score"] for hit in hits], 1 - d, atol=2e-6)
        assert [hit["picture"] for hit in hits] == list(search.gallery_ids_[r])
        for hit in hits:
            name = hit["captions"][0]
            assert hit["captions"] == [name, f"a drawing of {name}"]


def test_search_for_a_table(model, photos, skxmodal_command, emoji):
    name = emoji.names[0]
    result = skxmodal_command("search", model, f"a drawing of {name}")
    assert result.exit_code == 0, result.stderr
    first = next(line for line in result.stdout.splitlines() if "│ 1 │" in line)
    assert name in first
    # Into a pipe no path is folded, whatever the width.
    assert str(photos / emoji.pictures[0].name) in first
    assert result.stdout.count("│ 5 │") == 1
    assert "Searching" in result.stderr


def test_search_by_picture(model, emoji, skxmodal_command):
    picture = emoji.pictures[0]
    result = skxmodal_command("search", model, "--picture", picture, "-k", 2, "--json")
    assert result.exit_code == 0, result.stderr
    (answer,) = json.loads(result.stdout)
    found = {hit["captions"][0] for hit in answer["hits"]}
    assert found == {emoji.names[0], f"a drawing of {emoji.names[0]}"}


def test_a_model_that_was_saved_in_python(
    model, saved_in_python, photos, other_photos, emoji, skxmodal_command, tmp_path
):
    def hits(*arguments):
        result = skxmodal_command("search", *arguments, "-k", 3, "--json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)[0]["hits"]

    name = emoji.names[0]
    known = hits(model, name)
    bare = hits(saved_in_python, name)
    assert bare == [{**hit, "captions": []} for hit in known]
    assert "caption" not in skxmodal_command("search", saved_in_python, name).stdout
    assert hits(saved_in_python, name, "--captions", photos) == known
    # Pictures that were moved are known by their content.
    copy = tmp_path / "elsewhere"
    shutil.copytree(photos, copy)
    shutil.copy(next(other_photos.iterdir()), copy / "new.png")
    with (copy / "captions.csv").open("a") as file:
        file.write("new.png,not in the model\n")
    moved = hits(saved_in_python, name, "--captions", copy)
    assert [hit["captions"] for hit in moved] == [hit["captions"] for hit in known]
    assert {Path(hit["picture"]).parent for hit in moved} == {copy}
    table = skxmodal_command("search", saved_in_python, name, "--captions", copy)
    assert "1 of the 50 pictures" in table.stderr
    by_picture = ("--picture", emoji.pictures[0])
    found = hits(saved_in_python, *by_picture, "--captions", photos)
    assert found == hits(model, *by_picture)
    for command in (
        ["search", saved_in_python, *by_picture],
        ["serve", saved_in_python],
    ):
        refused = skxmodal_command(*command)
        assert refused.exit_code == 2
        assert "--captions" in refused.stderr
    others = skxmodal_command("serve", saved_in_python, "--captions", other_photos)
    assert others.exit_code == 2
    assert "None of the 47 pictures" in others.stderr


def test_search_draws_its_hits(model, skxmodal_command, tmp_path):
    path = tmp_path / "hits.png"
    result = skxmodal_command("search", model, "an animal", "-k", 4, "-o", path)
    assert result.exit_code == 0, result.stderr
    with Image.open(path) as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    assert pixels.shape[1] > 4 * 224
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50


def test_a_place_that_takes_nothing_is_known_before_anything_is_encoded(
    photos, model, skxmodal_command, tmp_path
):
    for arguments in (
        ["fit", photos, "-o", photos],
        ["fit", photos, "-o", photos / "captions.csv" / "model"],
        ["search", model, "x", "-o", tmp_path / "nowhere" / "x.png"],
    ):
        refused = skxmodal_command(*arguments)
        assert refused.exit_code == 2
        (line,) = refused.stderr.splitlines()
        assert ".part" not in line


def test_letters_of_any_script_are_drawn_or_said(model, skxmodal_command, tmp_path):
    font, lacking = font_for("Привет, мир")
    assert lacking == ""
    # Pillow's own font has a box in place of each of them.
    drawn = {bytes(font(40).getmask(letter)) for letter in "Привет"}
    assert len(drawn) == 6
    path = tmp_path / "hits.png"
    query = "cat \U000f1234"  # of private use: no font has it
    result = skxmodal_command("search", model, query, "-o", path)
    assert result.exit_code == 0, result.stderr
    assert "No font found here has '\\U000f1234'" in result.stderr
    plain = skxmodal_command("search", model, "cat", "-o", path)
    assert "No font" not in plain.stderr


def test_pictures_that_are_gone_are_said(photos, skxmodal_command, tmp_path):
    copy = tmp_path / "photos"
    shutil.copytree(photos, copy)
    fitted = skxmodal_command("fit", copy, "-o", tmp_path / "model", "-q")
    assert fitted.exit_code == 0, fitted.stderr
    assert fitted.output == ""
    shutil.rmtree(copy)
    result = skxmodal_command("search", tmp_path / "model", "an animal")
    assert result.exit_code == 0, result.stderr
    assert "(not there any more)" in result.stdout


def test_the_model_knows_pictures_and_captions(model, photos):
    search, metadata = load(model, return_metadata=True)
    assert len(metadata["captions"]) == 98
    assert len(metadata["pictures"]) == len(search.gallery_ids_) == 49
    assert all(path.parent == photos for path in metadata["pictures"])
    assert [
        p.name.partition(".")[2] for p in model.iterdir() if p.suffix != ".json"
    ] == ["safetensors"]


def test_evaluate(model, other_photos, skxmodal_command):
    result = skxmodal_command("evaluate", model, other_photos, "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["pictures also fitted on"] == 0
    assert report["scores"]["text to image"]["gallery"] == 47
    for direction, scores in report["scores"].items():
        chance = report["chance"][direction]
        assert chance["R@1"] == pytest.approx(1 / 47)
        assert chance["R@10"] == pytest.approx(10 / 47)
        assert chance["R@10"] < scores["R@10"] <= 1
        assert scores["R@1"] <= scores["R@5"] <= scores["R@10"]
    table = skxmodal_command("evaluate", model, other_photos)
    assert table.exit_code == 0, table.stderr
    for share in (report["scores"]["text to image"]["R@5"], 10 / 47):
        assert f"{100 * share:.1f}" in table.stdout
    assert "were in the fit" not in table.stdout


def test_evaluate_names_the_correction_for_hubness(
    photos, other_photos, skxmodal_command, tmp_path
):
    data = load_captioned_images(photos)
    model = CrossModalRetriever(
        ProcrustesMapper(),
        query_encoder=TextEncoder(),
        target_encoder=ImageEncoder(),
        hubness=CSLS(bank="queries"),
    ).fit(data.captions, data.images)
    folder = model.save(tmp_path / "model")
    result = skxmodal_command("evaluate", folder, other_photos, "--json")
    scores = json.loads(result.stdout)["scores"]
    assert {side["hubness"] for side in scores.values()} == {"CSLS, transductive"}
    table = skxmodal_command("evaluate", folder, other_photos)
    assert table.stdout.count("corrected for hubness: CSLS, transductive") == 2


def test_evaluate_on_the_training_pictures_says_so(model, photos, skxmodal_command):
    result = skxmodal_command("evaluate", model, photos)
    assert result.exit_code == 0, result.stderr
    assert "49 of the 49 pictures were in the fit" in result.stdout


def test_fit_takes_any_map_of_the_registry_and_cca_by_default(
    model, photos, skxmodal_command, tmp_path
):
    assert type(load(model).mapper_) is CCAMapper
    for name, mapper in MAPPERS.items():
        output = tmp_path / name
        fitted = skxmodal_command(
            "fit", photos, "-o", output, "--mapper", name.replace("_", "-")
        )
        assert fitted.exit_code == 0, fitted.stderr
        assert type(load(output).mapper_) is mapper


def test_fit_takes_other_maps_and_replaces_only_when_told(
    photos, skxmodal_command, tmp_path
):
    model = tmp_path / "model"
    first = skxmodal_command("fit", photos, "-o", model, "--mapper", "cca")
    assert first.exit_code == 0, first.stderr
    refused = skxmodal_command("fit", photos, "-o", model)
    assert refused.exit_code == 2
    assert "replace it with --overwrite" in refused.stderr
    assert type(load(model).mapper_).__name__ == "CCAMapper"
    again = skxmodal_command(
        "fit", photos, "-o", model, "--overwrite", "--mapper", "least-squares"
    )
    assert again.exit_code == 0, again.stderr
    assert "Note: X has rank 97 of 384 columns" in again.stderr
    assert type(load(model).mapper_).__name__ == "LeastSquaresMapper"


def test_fit_goes_without_missing_pictures_when_told(
    photos, skxmodal_command, tmp_path
):
    copy = tmp_path / "photos"
    shutil.copytree(photos, copy)
    with (copy / "captions.csv").open("a") as file:
        file.write("gone.png,nobody\n")
    refused = skxmodal_command("fit", copy, "-o", tmp_path / "model")
    assert refused.exit_code == 2
    assert "gone.png (line 100)" in refused.stderr
    assert not (tmp_path / "model").exists()
    result = skxmodal_command("fit", copy, "-o", tmp_path / "model", "--skip-missing")
    assert result.exit_code == 0, result.stderr
    assert "Note: " in result.stderr
    assert "gone.png (line 100)" in result.stderr


def mistakes(model, photos, tmp_path):
    foreign = tmp_path / "foreign"
    X, y = make_paired_embeddings(20, random_state=0)
    save(CrossModalRetriever(ProcrustesMapper()).fit(X, y), foreign)
    mapper = tmp_path / "mapper"
    save(ProcrustesMapper().fit(X, y), mapper)
    damaged = tmp_path / "damaged"
    shutil.copytree(model, damaged)
    (damaged / "manifest.json").write_text("{")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a cat.png").write_bytes(b"\x89PNG no more")
    (tmp_path / "broken" / "a dog.png").write_bytes(b"")
    out = ["-o", tmp_path / "model"]
    return {
        "no such command": (["fti"], "No such command 'fti'"),
        "no argument": (["fit"], "Missing argument 'PICTURES'"),
        "no output": (["fit", photos], "Missing option '-o'"),
        "unknown option": (["fit", photos, "--fast", *out], "No such option"),
        "unknown mapper": (["fit", photos, "--mapper", "x", *out], "is not one of"),
        "no pictures": (["fit", "/nowhere", *out], "/nowhere does not exist"),
        "empty folder": (["fit", tmp_path / "empty", *out], "neither a captions file"),
        "no picture": (["fit", tmp_path / "broken", *out], "a cat.png"),
        "no split": (["fit", photos, "--split", "x", *out], "has no splits"),
        "no encoder": (
            ["fit", photos, "--text-encoder", "./nothing", *out],
            "./nothing",
        ),
        "no folder": (["fit", photos, "-o", photos], "holds other files"),
        "below a file": (
            ["fit", photos, "-o", photos / "captions.csv" / "model"],
            "captions.csv is a file",
        ),
        "like a command": (["serach", model, "x"], "Did you mean 'search'?"),
        "no sheet's folder": (
            ["search", model, "x", "-o", tmp_path / "nowhere" / "x.png"],
            "nowhere is no folder",
        ),
        "no sheet's name": (["search", model, "x", "-o", "x.txt"], "are a PNG"),
        "no model": (["search", "/nowhere", "x"], "There is no model at /nowhere"),
        "other folder": (["search", photos, "x"], "no saved model"),
        "damaged model": (["search", damaged, "x"], "damaged"),
        "embeddings": (["search", foreign, "x"], "fitted to embeddings"),
        "no retriever": (["search", mapper, "x"], "holds a ProcrustesMapper"),
        "no query": (["search", model], "Nothing to search for"),
        "blank query": (["search", model, " "], "blank"),
        "too many hits": (
            ["search", model, "x", "-k", 50],
            "the model has 49 pictures",
        ),
        "no hits": (["search", model, "x", "-k", 0], "not in the range"),
        "two sheets": (["search", model, "x", "y", "-o", "z.png"], "one query"),
        "no such file": (
            ["search", model, "--picture", "/nowhere.png"],
            "/nowhere.png",
        ),
    }


def test_a_mistake_is_one_line_and_exit_code_2(
    model, photos, skxmodal_command, tmp_path
):
    for name, (arguments, message) in mistakes(model, photos, tmp_path).items():
        result = (
            skxmodal_command(*arguments, "-q")
            if arguments[0] not in ("fti", "serach")
            else (skxmodal_command(*arguments))
        )
        assert result.exit_code == 2, (name, result.output)
        assert result.stdout == "", name
        (line,) = result.stderr.splitlines()
        assert line.startswith("skxmodal: "), name
        assert message in line, name
        assert "Traceback" not in line, name


def test_the_code_s_own_errors_are_not_hidden(photos, skxmodal_command):
    result = skxmodal_command("fit", "/nowhere", "-o", "x", "--traceback")
    assert isinstance(result.exception, FileNotFoundError)


@pytest.mark.parametrize("command", [[], *([c] for c in COMMANDS), ["cache", "info"]])
def test_help_teaches_by_examples(command, skxmodal_command):
    result = skxmodal_command(*command, "--help")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert f"  skxmodal {' '.join(command)}".rstrip() in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 88


def test_the_bare_command_and_its_version(skxmodal_command):
    bare = skxmodal_command()
    assert bare.exit_code == 0
    assert all(re.search(rf"^  {name} ", bare.stdout, re.M) for name in COMMANDS)
    group = skxmodal_command("cache")
    assert group.exit_code == 0
    assert group.stdout == skxmodal_command("cache", "--help").stdout
    version = skxmodal_command("--version")
    assert version.exit_code == 0
    assert re.fullmatch(r"skxmodal, version \S+\n", version.stdout)


def test_cache_info_and_clear(model, photos, skxmodal_command, tmp_path, monkeypatch):
    monkeypatch.setenv("SKXMODAL_CACHE", str(tmp_path / "cache"))
    fitted = skxmodal_command("fit", photos, "-o", tmp_path / "model", "-q")
    assert fitted.exit_code == 0, fitted.stderr
    info = skxmodal_command("cache", "info")
    assert re.search(r"vectors\s+│\s+147 ", info.stdout)
    assert str(tmp_path / "cache" / "embeddings") in info.stdout
    kept = skxmodal_command("cache", "clear", input="n\n")
    assert kept.exit_code == 0
    assert "Nothing was deleted." in kept.stdout
    assert "147" in skxmodal_command("cache", "info").stdout
    only = skxmodal_command("cache", "clear", "--only", "openmoji", "--yes")
    assert only.stdout == "Deleted the cached emoji pictures.\n"
    assert "147" in skxmodal_command("cache", "info").stdout
    assert skxmodal_command("cache", "clear", "-y", "-q").output == ""
    assert re.search(r"vectors\s+│\s+0 ", skxmodal_command("cache", "info").stdout)
    monkeypatch.setenv("SKXMODAL_CACHE", "off")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert "off" in skxmodal_command("cache", "info").stdout


def test_cache_clear_deletes_what_it_names(skxmodal_command, tmp_path, monkeypatch):
    monkeypatch.setenv("SKXMODAL_CACHE", str(tmp_path / "cache"))
    kept = tmp_path / "cache" / "openmoji"
    (kept / "drawn").mkdir(parents=True)
    (kept / "drawn" / "1F600.png").write_bytes(b"")
    (kept / ".DS_Store").write_bytes(b"")
    asked = skxmodal_command("cache", "clear", input="")
    assert asked.exit_code == 2
    assert asked.stderr.splitlines()[-1].endswith("--yes")
    assert f"emoji pictures: {kept}" in asked.stderr
    assert len(list(kept.iterdir())) == 2
    cleared = skxmodal_command("cache", "clear", "--yes")
    assert cleared.exit_code == 0, cleared.stderr
    expected = "Deleted the cached vectors, emoji pictures and exported networks.\n"
    assert cleared.stdout == expected
    assert list(kept.iterdir()) == []

    monkeypatch.setenv("SKXMODAL_CACHE", "off")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    vectors = skxmodal_command("cache", "clear", "--only", "embeddings", "--yes")
    assert vectors.exit_code == 2
    assert "no vectors kept" in vectors.stderr
    cleared = skxmodal_command("cache", "clear", "--yes")
    assert (
        cleared.stdout == "Deleted the cached emoji pictures and exported networks.\n"
    )


def run(*arguments):
    return [sys.executable, "-m", "skxmodal.cli", *map(str, arguments)]


def test_a_true_process_searches(model, emoji):
    script = shutil.which("skxmodal", path=str(Path(sys.executable).parent))
    command = run() if script is None else [script]
    done = subprocess.run(
        [*command, "search", model, emoji.names[0], "--json", "-k", "1"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (answer,) = json.loads(done.stdout)
    assert answer["hits"][0]["captions"][0] == emoji.names[0]
    assert done.stderr == ""


# Ctrl-C while the first pictures are encoded, however fast the machine is.
INTERRUPTED = """
import os, signal
from skxmodal.cli import main
from skxmodal.encoders import ImageEncoder

# Whoever runs the tests in the background has Ctrl-C ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
encode = ImageEncoder._encode

def interrupted(*arguments, **keywords):
    os.kill(os.getpid(), signal.SIGINT)
    return encode(*arguments, **keywords)

ImageEncoder._encode = interrupted
main()
"""


def in_a_terminal(command, **environment):
    """Run a command whose output is a terminal; what it wrote is returned."""
    reader, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (50, 130))
    process = subprocess.Popen(
        command,
        stdin=terminal,
        stdout=terminal,
        stderr=subprocess.PIPE,
        env={**os.environ, "LC_ALL": "C.UTF-8", **environment},
    )
    os.close(terminal)
    written = []
    # Reading a terminal that nobody holds any more is an error on Linux.
    with contextlib.suppress(OSError):
        while chunk := os.read(reader, 65536):
            written.append(chunk)
    os.close(reader)
    with process:
        error = process.stderr.read().decode()
    assert process.returncode == 0, error
    return b"".join(written).decode()


def test_a_terminal_shows_thumbnails_and_links(model, emoji, photos):
    command = run("search", model, emoji.names[0], "-k", "2")
    shown = in_a_terminal(command, TERM="xterm-256color", COLORTERM="truecolor")
    path = photos / emoji.pictures[0].name
    # A click on the path opens the picture.
    assert re.search(rf"\x1b\]8;[^;]*;{re.escape(path.as_uri())}\x1b", shown)
    top = emoji.pictures[0]
    with Image.open(top) as picture:
        picture.thumbnail((24, 20))
        red, green, blue = picture.convert("RGB").getpixel((9, 8))
    assert f"38;2;{red};{green};{blue}" in shown
    assert shown.count("▀") == 2 * 20 * 10
    without = in_a_terminal([*command, "--no-thumbnails"], TERM="xterm-256color")
    assert "▀" not in without
    assert "file://" in without
    plain = in_a_terminal(command, TERM="dumb")
    assert "▀" not in plain
    assert "\x1b" not in plain


def test_kitty_shows_the_pictures_themselves(model, emoji):
    command = run("search", model, emoji.names[0], "-k", "2")
    kitty = {"TERM": "xterm-kitty", "COLORTERM": "truecolor"}
    shown = in_a_terminal(command, **kitty)
    sent = {}
    for keys, data in re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", shown):
        assert "q=2" in keys.split(",")  # whatever comes of it, no answer
        assert len(data) <= 4096
        if "a=T" in keys:
            settings = dict(key.split("=") for key in keys.split(","))
            number = int(settings["i"])
            sent[number] = settings, ""
        sent[number] = sent[number][0], sent[number][1] + data
    assert len(sent) == 2
    settings, data = sent[next(iter(sent))]
    assert (settings["U"], settings["f"]) == ("1", "100")
    picture = Image.open(io.BytesIO(base64.b64decode(data)))
    with Image.open(emoji.pictures[0]) as original:
        np.testing.assert_array_equal(picture, original.convert("RGB"))
    # Each picture stands in the table, line by line, in the colour of its number.
    marks = {mark: i for i, mark in enumerate(_kitty._NUMBERS)}
    for number in sent:
        colour = ";".join(map(str, number.to_bytes(3, "big")))
        lines = re.findall(rf"\x1b\[38;2;{colour}m((?:\U0010eeee..)+)", shown)
        cells = [
            [(marks[line[i + 1]], marks[line[i + 2]]) for i in range(0, len(line), 3)]
            for line in lines
        ]
        assert cells == [[(row, column) for column in range(20)] for row in range(10)]
    assert "▀" not in shown
    assert "\x1b_G" not in in_a_terminal([*command, "--json"], **kitty)
    # Inside tmux the name of the terminal is tmux's own.
    assert not _kitty.is_named({**kitty, "TERM": "tmux-256color"})


def test_thumbnails_need_a_terminal(model, skxmodal_command):
    result = skxmodal_command("search", model, "x", "--thumbnails")
    assert result.exit_code == 2
    assert "needs a terminal" in result.stderr


def test_an_interruption_leaves_nothing_and_says_so(photos, tmp_path):
    model = tmp_path / "model"
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, "fit", photos, "-o", model],
        capture_output=True,
        text=True,
        env={**os.environ, "SKXMODAL_CACHE": "off"},
    )
    # Python dies by a signal that came inside an exec(); a shell shows 130 for either.
    assert done.returncode in (130, -signal.SIGINT), done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("skxmodal: stopped")
    assert not model.exists()


def test_what_was_fitted_on_is_known_when_gallery_and_files_have_changed(
    photos, other_photos, skxmodal_command, tmp_path
):
    # As the demo saves it: fitted on some pictures, its gallery of others.
    data = load_captioned_images(photos)
    others = load_captioned_images(other_photos)
    search = CrossModalRetriever(
        ProcrustesMapper(), query_encoder=TextEncoder(), target_encoder=ImageEncoder()
    ).fit(data.captions, data.images)
    model = search.index(others.images).save(tmp_path / "model")

    def seen(pictures):
        result = skxmodal_command("evaluate", model, pictures, "--json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)["pictures also fitted on"]

    assert seen(other_photos) == 0
    assert seen(photos) == 49
    moved = tmp_path / "moved"
    shutil.copytree(photos, moved)
    fitted = skxmodal_command("fit", moved, "-o", tmp_path / "second")
    assert fitted.exit_code == 0, fitted.stderr
    model = tmp_path / "second"
    shutil.rmtree(moved)
    assert seen(photos) == 49


def test_groups_are_no_paths(photos, saved_in_python, skxmodal_command, tmp_path):
    data = load_captioned_images(photos)
    encoders = {"query_encoder": TextEncoder(), "target_encoder": ImageEncoder()}
    search = CrossModalRetriever(ProcrustesMapper(), **encoders)

    def pictures(model, *arguments):
        result = skxmodal_command("search", model, "a cat", "--json", *arguments)
        assert result.exit_code == 0, result.stderr
        return [hit["picture"] for hit in json.loads(result.stdout)[0]["hits"]]

    expected = pictures(saved_in_python)
    grouped = search.fit(data.captions, data.images, groups=data.groups)
    assert pictures(grouped.save(tmp_path / "grouped")) == expected

    # Fitted to the bytes of files it knows what they hold, and not where they are.
    unnamed = search.fit(data.captions, [path.read_bytes() for path in data.images])
    unnamed.save(tmp_path / "unnamed")
    refused = skxmodal_command("search", tmp_path / "unnamed", "a cat")
    assert refused.exit_code == 2
    assert "--captions PATH" in refused.stderr
    assert pictures(tmp_path / "unnamed", "--captions", photos) == expected
    few = tmp_path / "few"
    few.mkdir()
    shutil.copy(data.images[0], few / "one.png")
    refused = skxmodal_command(
        "search", tmp_path / "unnamed", "a cat", "--captions", few
    )
    assert refused.exit_code == 2
    assert "48 of the 49 pictures of the model are not in" in refused.stderr


def test_damaged_pictures_are_all_named_and_left_out_when_told(
    photos, model, skxmodal_command, tmp_path
):
    copy = tmp_path / "photos"
    shutil.copytree(photos, copy)
    first, second, third = load_captioned_images(copy).images[:6:2]
    first.write_bytes(first.read_bytes()[:200])
    second.write_bytes(b"")
    third.unlink()
    fit = ["fit", copy, "-o", tmp_path / "model"]
    refused = skxmodal_command(*fit)
    assert refused.exit_code == 2
    assert "1 picture is not in" in refused.stderr
    assert "2 captions without one" in refused.stderr
    assert "--image-folder, or --skip-missing" in refused.stderr
    refused = skxmodal_command(*fit, "--skip-missing")
    assert refused.exit_code == 2
    assert "2 of 48 pictures can't be read" in refused.stderr
    for expected in (first.name, second.name, "--skip-unreadable"):
        assert expected in refused.stderr
    for python_only in ("on_error", "on_missing", "image_folder"):
        assert python_only not in refused.stderr
    assert not (tmp_path / "model").exists()
    skip = ["--skip-missing", "--skip-unreadable"]
    fitted = skxmodal_command(*fit, *skip)
    assert fitted.exit_code == 0, fitted.stderr
    assert "92 captions of 46 pictures" in fitted.stdout
    assert "Note: 2 of 48 pictures can't be read" in fitted.stderr
    measured = skxmodal_command("evaluate", model, copy, *skip, "--json")
    assert measured.exit_code == 0, measured.stderr
    report = json.loads(measured.stdout)
    assert report["pictures left out"] == {"missing": 1, "unreadable": 2}
    assert report["scores"]["text to image"]["gallery"] == 46
    # Beside JSON what was left out is said, and nothing of the steps.
    assert all(line.startswith("Note: ") for line in measured.stderr.splitlines())
    assert third.name in measured.stderr
    asked = skxmodal_command("search", model, "--picture", first, second)
    assert asked.exit_code == 2
    assert "2 of 2 pictures can't be read" in asked.stderr
    assert "on_error" not in asked.stderr
