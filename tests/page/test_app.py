"""The page's addresses, asked without a browser."""

import concurrent.futures
import io
import os
import shutil
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from skxmodal._pictures import open_picture
from skxmodal.cli._console import Progress, Stopped
from skxmodal.cli._model import SearchModel
from skxmodal.page._app import make_app
from skxmodal.page._map import SharedMap
from skxmodal.page._pictures import Thumbnails
from skxmodal.page._searches import Searches
from skxmodal.persistence import save

MAX_UPLOAD = 200_000
MAX_PIXELS = 1_000_000
HOST = "localhost"


@pytest.fixture(scope="module")
def client(searches):
    app = make_app(searches, hosts={HOST}, max_upload=MAX_UPLOAD, max_pixels=MAX_PIXELS)
    # Not as a context manager: the searches outlive the client.
    return TestClient(
        app, base_url=f"http://{HOST}:8765", raise_server_exceptions=False
    )


def png(size=(40, 30), colour="red"):
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, format="PNG")
    return stream.getvalue()


def test_words_find_what_the_retriever_finds(client, search_model):
    words = search_model.captions[0]
    answer = client.get("/api/search", params={"q": words, "k": 5}).json()
    distances, rows = search_model.retriever.kneighbors([words], n_neighbors=5)
    assert [hit["item"] for hit in answer["hits"]] == rows[0].tolist()
    scores = [hit["score"] for hit in answer["hits"]]
    np.testing.assert_allclose(scores, 1 - distances[0], atol=6e-5)
    first = answer["hits"][0]
    assert first["captions"] == search_model.captions_of(first["item"])
    assert first["name"] == search_model.pictures[first["item"]].name


def test_a_picture_finds_what_the_retriever_finds(client, search_model):
    path = search_model.pictures[3]
    answer = client.post("/api/captions?k=4", content=path.read_bytes()).json()
    distances, rows = search_model.retriever.inverse_kneighbors([path], n_neighbors=4)
    found = [hit["caption"] for hit in answer["hits"]]
    assert found == [search_model.captions[row] for row in rows[0]]
    scores = [hit["score"] for hit in answer["hits"]]
    np.testing.assert_allclose(scores, 1 - distances[0], atol=6e-5)
    # A picture of the gallery needs no upload, and has its own captions named.
    known = client.get("/api/captions/3?k=4").json()
    assert known["hits"] == answer["hits"]
    assert known["captions"] == search_model.captions_of(3)


def test_more_hits_than_there_are_is_all_of_them(client, search_model):
    answer = client.get("/api/search?q=dog&k=200").json()
    assert len(answer["hits"]) == answer["n_possible"] == len(search_model.pictures)


def test_pictures_are_served_small_and_large(client, search_model):
    for address, side in (("/pictures/0", 320), ("/pictures/0?large=1", 1600)):
        response = client.get(address)
        assert response.status_code == 200
        assert response.headers["content-type"] == "image/webp"
        with Image.open(io.BytesIO(response.content)) as served:
            original = open_picture(search_model.pictures[0])
            assert max(served.size) == min(side, max(original.size))
            difference = np.abs(
                np.asarray(served.convert("RGB"), dtype=float) - np.asarray(original)
            )
            assert difference.mean() < 6


def test_the_map_has_both_sides_and_the_hits_stand_on_it(client, search_model):
    drawn = client.get("/api/map").json()
    assert len(drawn["pictures"]) == len(search_model.pictures)
    assert len(drawn["captions"]) == len(search_model.captions)
    assert 0 < drawn["share"] < 1
    place_of = {picture["item"]: picture["place"] for picture in drawn["pictures"]}
    caption = search_model.captions[5]
    answer = client.get("/api/search", params={"q": caption, "k": 6}).json()
    for hit in answer["hits"]:
        assert hit["place"] == place_of[hit["item"]]
    places = [
        point["place"] for point in drawn["captions"] if point["caption"] == caption
    ]
    np.testing.assert_allclose(answer["place"], places[0], atol=2e-4)


def test_the_map_is_that_of_principal_components():
    rng = np.random.default_rng(0)
    pictures, captions = rng.normal(size=(60, 5)), rng.normal(size=(90, 5)) + 1
    drawn = SharedMap(pictures, captions)
    # Each side counts the same: weigh the captions down, and do an SVD.
    weights = np.sqrt(np.r_[np.full(60, 1 / 120), np.full(90, 1 / 180)])
    centre = (pictures.mean(axis=0) + captions.mean(axis=0)) / 2
    rows = np.r_[pictures, captions] - centre
    _, values, axes = np.linalg.svd(weights[:, None] * rows, full_matrices=False)
    places = np.array(drawn.place(pictures))
    expected = (pictures - centre) @ axes[:2].T
    np.testing.assert_allclose(np.abs(places), np.abs(expected), atol=1e-4)
    assert drawn.share == pytest.approx((values[:2] ** 2).sum() / (values**2).sum())


def test_the_map_of_many_is_a_sample_and_that_of_one_column_a_line():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(50, 1))
    drawn = SharedMap(vectors, np.repeat(vectors, 2, axis=0), n_shown=20)
    assert len(drawn.shown_pictures) == len(np.unique(drawn.shown_captions)) == 20
    assert {y for _, y in drawn.place(vectors)} == {0.0}
    assert drawn.share == pytest.approx(1)
    same = SharedMap(np.ones((3, 4)), np.ones((3, 4)))
    assert same.share == 1


@pytest.mark.parametrize(
    ("upload", "status", "message"),
    [
        (b"", 422, "no picture"),
        (b"GIF89a", 422, "no picture"),
        (b"#!/bin/sh\nrm -rf /\n", 422, "no picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 422, "no picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 422, "no picture"),
        (png()[:-40], 422, "damaged"),
        (png((1001, 1000)), 422, "more than 1 million pixels"),
        (b"\x89PNG" + bytes(MAX_UPLOAD), 413, "larger than"),
    ],
)
def test_what_is_no_picture_is_an_error_and_the_next_is_answered(
    client, upload, status, message
):
    response = client.post("/api/captions", content=upload)
    assert response.status_code == status
    assert message in response.json()["error"]
    assert client.post("/api/captions", content=png()).status_code == 200


def test_an_upload_without_a_length_is_cut_off_too(client):
    chunks = (bytes(50_000) for _ in range(100))
    response = client.post("/api/captions", content=chunks)
    assert response.status_code == 413


def test_a_bomb_is_refused_by_its_header(client):
    header = png((1, 1))
    # The size stands at byte 16.
    body = b"IHDR" + struct.pack(">II", 60_000, 60_000) + header[24:29]
    bomb = header[:12] + body + struct.pack(">I", zlib.crc32(body)) + header[33:]
    response = client.post("/api/captions", content=bomb)
    assert response.status_code == 422
    assert "million pixels" in response.json()["error"]


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/api/search", 422),
        ("/api/search?q=", 422),
        ("/api/search?q=%20", 422),
        ("/api/search?q=x&k=0", 422),
        ("/api/search?q=x&k=201", 422),
        ("/api/search?q=" + 1001 * "x", 422),
        ("/api/captions/100000", 404),
        ("/api/captions/-1", 422),
        ("/pictures/100000", 404),
        ("/pictures/-1", 422),
        ("/pictures/captions.csv", 422),
        ("/pictures/..%2Fcaptions.csv", 404),
        ("/pictures/%2e%2e/captions.csv", 404),
        ("/../../../../etc/passwd", 404),
        ("/..%2f..%2f..%2fetc%2fpasswd", 404),
        ("/page.css/../_app.py", 404),
        ("/_app.py", 404),
        ("/docs", 404),
        ("/openapi.json", 404),
    ],
)
def test_bad_addresses_get_one_sentence(client, address, status):
    response = client.get(address)
    assert response.status_code == status
    assert response.json()["error"]
    assert "root:" not in response.text


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example:8765", "192.168.0.7", "[::1", "", "a@b"],
)
def test_other_names_are_refused(client, host):
    response = client.get("/api/about", headers={"host": host})
    assert response.status_code == 403
    assert "--allow-host" in response.json()["error"]


def test_names_and_addresses_that_pass(searches):
    hosts = {"Photos.Example", "[::1]", "::2", "a.example:80", ""}
    client = TestClient(make_app(searches, hosts=hosts, any_address=True))
    passing = ["photos.example", "PHOTOS.example:80", "[::1]:9", "192.168.0.7:1"]
    for host in [*passing, "[::2]:9", "a.example:80", "a.example"]:
        assert client.get("/api/about", headers={"host": host}).status_code == 200
    assert client.get("/api/about", headers={"host": "x.test"}).status_code == 403


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:1", "http://[::1"]
)
def test_other_pages_are_refused(client, origin):
    response = client.post("/api/captions", content=png(), headers={"origin": origin})
    assert response.status_code == 403
    own = {"origin": f"http://{HOST}:8765"}
    assert client.post("/api/captions", content=png(), headers=own).is_success


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_browser_that_asks_for_another_page_gets_the_page_alone(client, site):
    """A link may lead to the page; a script's question has no Origin where it GETs."""
    headers = {"sec-fetch-site": site}
    assert client.get("/", headers=headers).status_code == 200
    for address in ("/api/search?q=dog", "/api/map", "/api/captions/0", "/pictures/0"):
        assert client.get(address, headers=headers).status_code == 403
        for own in ("same-origin", "none"):
            headers_of_own = {"sec-fetch-site": own}
            assert client.get(address, headers=headers_of_own).status_code == 200


@pytest.mark.parametrize("address", ["/", "/pictures/0", "/nothing", "/api/about"])
def test_browsers_are_told_to_load_nothing_else(client, address):
    headers = client.get(address).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "server" not in headers


def test_the_page_names_no_other_place(client):
    for address in ("/", "/page.css", "/page.js"):
        text = client.get(address).text
        assert "http://" not in text
        assert "https://" not in text
        assert "innerHTML" not in text


def test_only_the_file_of_the_fit_is_shown(search_model, tmp_path):
    paths = []
    for path in search_model.pictures:
        paths.append(tmp_path / path.name)
        shutil.copy(path, paths[-1])
    searches = Searches(
        search_model.retriever,
        paths,
        search_model.captions,
        search_model.item_of_caption,
        search_model.caption_gallery(),
    )
    client = TestClient(make_app(searches, hosts={HOST}), base_url=f"http://{HOST}")
    assert client.get("/pictures/0").status_code == 200
    shutil.copy(paths[2], paths[1])
    paths[3].unlink()
    paths[4].unlink()
    paths[4].symlink_to("/etc/passwd")
    paths[5].unlink()
    os.mkfifo(paths[5])
    for item in (1, 3, 4, 5):
        response = client.get(f"/pictures/{item}")
        assert response.status_code == 410
        assert "not" in response.json()["error"]
    # Words of a picture that is gone are found all the same.
    assert client.get("/api/captions/3").status_code == 200
    searches.close()


def test_pictures_are_drawn_from_files_of_any_kind(tmp_path):
    """A JPEG is decoded no larger than needed: what is shown is the same picture."""
    slope = np.linspace(0, 255, 3000 * 2000 * 3).reshape(2000, 3000, 3)
    picture = Image.fromarray(slope.astype(np.uint8))
    turned = Image.Exif()
    turned[0x0112] = 6
    paths = [tmp_path / "a.jpg", tmp_path / "b.png"]
    picture.save(paths[0], exif=turned)
    picture.transpose(Image.Transpose.ROTATE_270).save(paths[1])
    keys = [path.read_bytes() for path in paths]
    thumbnails = Thumbnails(paths, keys, lambda data: data)
    small = []
    for item in range(2):
        with Image.open(io.BytesIO(thumbnails.submit(item, 320).result())) as drawn:
            assert drawn.size == (213, 320)
            small.append(np.asarray(drawn.convert("RGB"), dtype=float))
    assert np.abs(small[0] - small[1]).max() < 8
    thumbnails.close()


def test_names_and_captions_that_are_not_unicode_are_shown(search_model, tmp_path):
    pictures = list(search_model.pictures)
    pictures[0] = pictures[0].with_name(os.fsdecode(b"caf\xe9.png"))
    captions = ["\ud800 odd", *search_model.captions[1:]]
    gallery = search_model.caption_gallery()
    searches = Searches(
        search_model.retriever,
        pictures,
        captions,
        search_model.item_of_caption,
        gallery,
    )
    client = TestClient(make_app(searches, hosts={HOST}), base_url=f"http://{HOST}")
    for address in (
        "/api/about",
        "/api/map",
        "/api/captions/0?k=200",
        "/api/search?q=x&k=200",
    ):
        assert client.get(address).status_code == 200
    described = client.get("/api/captions/0").json()
    assert described["name"] == "caf\ufffd.png"
    assert "\ufffd odd" in described["captions"]
    searches.close()


def test_paths_of_two_kinds_have_names(search_model, monkeypatch):
    folder = search_model.pictures[0].parent
    monkeypatch.chdir(folder)
    pictures = list(search_model.pictures)
    pictures[1] = pictures[1].relative_to(folder)
    searches = Searches(
        search_model.retriever,
        pictures,
        search_model.captions,
        search_model.item_of_caption,
        search_model.caption_gallery(),
    )
    assert searches.describe(0)["name"] == pictures[0].name
    assert searches.describe(1)["name"] == str(pictures[1])
    searches.close()


@pytest.mark.parametrize(
    "changed",
    [
        {"command_version": None},
        {"pictures": []},
        {"pictures": None},
        {"captions": [3]},
        {"item_of_caption": np.array([99])},
        {"item_of_caption": "rows"},
    ],
    ids=str,
)
def test_metadata_that_do_not_fit_are_one_sentence(search_model, tmp_path, changed):
    metadata = {
        "command": "skxmodal fit",
        "command_version": 1,
        "pictures": search_model.pictures,
        "captions": search_model.captions,
        "item_of_caption": search_model.item_of_caption,
    }
    changed_metadata = {**metadata, **changed}
    save(search_model.retriever, tmp_path / "model", metadata=changed_metadata)
    with pytest.raises(Stopped, match=r"do not fit it\. Fit it again"):
        SearchModel.load(tmp_path / "model", Progress(quiet=True))


def test_a_failure_of_the_code_is_said_and_not_shown(client, searches, monkeypatch):
    def fail(*_):
        raise RuntimeError("a path: /secret")

    monkeypatch.setattr(searches, "find_pictures", fail)
    response = client.get("/api/search?q=x")
    assert response.status_code == 500
    assert "secret" not in response.text
    assert "content-security-policy" in response.headers
    monkeypatch.undo()
    assert client.get("/api/search?q=x").status_code == 200


def test_many_ask_at_once_and_each_gets_its_own_answer(client, search_model):
    queries = search_model.captions[:24]
    alone = [client.get("/api/search", params={"q": q, "k": 3}).json() for q in queries]
    paths = search_model.pictures[:8]

    def upload(path):
        return client.post("/api/captions?k=1", content=path.read_bytes()).json()

    captions = [upload(path) for path in paths]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        together = pool.map(
            lambda q: client.get("/api/search", params={"q": q, "k": 3}).json(), queries
        )
        uploads = pool.map(upload, paths)
        served = pool.map(lambda item: client.get(f"/pictures/{item}"), range(20))
        assert list(together) == alone
        assert list(uploads) == captions
        assert {response.status_code for response in served} == {200}
