"""The page in a true Chromium, asking a true server."""

import contextlib
import http.client
import json
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Error, expect, sync_playwright

from skxmodal.datasets import load_openmoji

COMMANDS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# A loaded machine is slow, not wrong.
PATIENCE = 180_000
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 360, "height": 740}

expect.set_options(timeout=PATIENCE)


@contextlib.contextmanager
def serving(model, *options):
    """Run the command, yield its address and process, and stop it by Ctrl+C."""
    command = [sys.executable, "-m", "skxmodal.cli", "serve", str(model), "--port", "0"]
    # Whoever runs the tests in the background has Ctrl-C ignored.
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            [*command, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, former)
    with process:
        try:
            line = process.stdout.readline()
            found = re.search(r"pictures at (http://\S+/)$", line)
            assert found, line + process.stderr.read()
            yield found[1], process
        finally:
            process.send_signal(signal.SIGINT)
            process.said = process.communicate()[1]


def ask(url, address, *, method="GET", body=None, headers=None):
    """Ask a server for an address as it stands, which clients would tidy up."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=300)
    with contextlib.closing(connection):
        connection.request(method, address, body=body, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.read()


@pytest.fixture(scope="module")
def url(model):
    with serving(model) as (url, process):
        yield url
        assert process.poll() is None, "the server died"


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        chromium = playwright.chromium
        found = next(
            filter(None, map(shutil.which, COMMANDS)), chromium.executable_path
        )
        if not Path(found).exists():
            pytest.skip(
                "NO BROWSER: the page was not tried in one. Install Chromium, with "
                "'apt-get install chromium' or 'python -m playwright install chromium'."
            )
        with chromium.launch(executable_path=found, timeout=PATIENCE) as browser:
            yield browser


@pytest.fixture
def open_page(browser, url):
    """Open the page; its console must stay empty but for what a test expects."""
    with contextlib.ExitStack() as stack:
        pages = []

        def open_page(address="", **options):
            context = stack.enter_context(
                browser.new_context(**{"viewport": WIDE, **options})
            )
            context.set_default_timeout(PATIENCE)
            page = context.new_page()
            page.complaints = []
            page.on(
                "console",
                lambda message: (
                    message.type in ("error", "warning")
                    and page.complaints.append(message.text)
                ),
            )
            page.on("pageerror", lambda error: page.complaints.append(str(error)))
            page.goto(url + address)
            expect(page.locator("#share")).not_to_be_empty()
            pages.append(page)
            return page

        yield open_page
        for page in pages:
            assert page.complaints == []


def search_for(page, words):
    page.get_by_label("What should the picture show?").fill(words)
    page.keyboard.press("Enter")
    expect(page.locator("#title")).to_have_text(f"Pictures for “{words}”")


def first_hit(page):
    return page.locator("#hits .caption").first


def test_words_show_the_right_picture_first(open_page, search_model):
    page = open_page()
    expect(page.locator("#about")).to_contain_text("43 pictures and 87 captions")
    caption = search_model.captions[20]
    search_for(page, caption)
    expect(first_hit(page)).to_have_text(caption)
    expect(page.get_by_role("status")).to_have_text("12 pictures found.")
    image = page.locator("#hits img").first
    expect(image).to_have_attribute("alt", caption)
    item = int(search_model.item_of_caption[20])
    expect(image).to_have_attribute("src", re.compile(rf"^pictures/{item}\?v="))
    assert image.evaluate("i => i.decode().then(() => i.naturalWidth)") > 0
    page.get_by_role("button", name="Show more").click()
    expect(page.get_by_role("status")).to_have_text("24 pictures found.")
    # The address holds the query: it can be kept, and the browser can go back.
    search_for(page, search_model.captions[0])
    page.go_back()
    expect(page.locator("#title")).to_have_text(f"Pictures for “{caption}”")


def test_an_address_with_words_searches(open_page, search_model):
    page = open_page(f"#q={quote(search_model.captions[4])}")
    expect(first_hit(page)).to_have_text(search_model.captions[4])


def test_a_picture_shows_its_captions(open_page, search_model):
    page = open_page()
    item = 7
    path = search_model.pictures[item]
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose a picture").click()
    chooser.value.set_files(path)
    expect(page.locator("#title")).to_have_text(f"Words for {path.name}")
    shown = page.locator("#hits .caption").all_inner_texts()
    assert set(shown[:2]) == set(search_model.captions_of(item))
    assert page.locator("#asked").evaluate("i => i.decode().then(() => i.width)") > 0


def drop(page, name, kind, content):
    transfer = page.evaluate_handle(
        """([name, type, bytes]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], name, { type }));
            return transfer;
        }""",
        [name, kind, list(content)],
    )
    page.dispatch_event("main", "dragenter", {"dataTransfer": transfer})
    expect(page.locator("#drop-here")).to_be_visible()
    page.dispatch_event("main", "drop", {"dataTransfer": transfer})
    expect(page.locator("#drop-here")).to_be_hidden()


def test_a_dropped_picture_that_the_model_never_saw(open_page):
    emoji = load_openmoji(size=64)
    row = emoji.names.index("dog")
    page = open_page()
    drop(page, "dog.png", "image/png", emoji.pictures[row].read_bytes())
    expect(page.locator("#title")).to_have_text("Words for dog.png")
    expect(page.locator("#hits .hit")).to_have_count(12)


def test_what_is_no_picture_is_an_error_and_the_page_goes_on(open_page, search_model):
    page = open_page()
    error = page.get_by_role("alert")
    drop(page, "notes.txt", "text/plain", b"some notes")
    expect(error).to_have_text("notes.txt is no picture.")
    # One that says it is a picture is for the server to refuse.
    drop(page, "fake.png", "image/png", b"\x89PNG and no more")
    expect(error).to_contain_text("no picture that can be read")
    assert len(page.complaints) == 1
    assert "status of 422" in page.complaints.pop()
    search_for(page, search_model.captions[0])
    expect(first_hit(page)).to_have_text(search_model.captions[0])
    expect(error).to_be_hidden()


def test_captions_are_text_and_never_code(open_page, search_model):
    script = search_model.captions[-1]
    assert script.startswith("<img")
    page = open_page()
    search_for(page, script)
    page.locator(".hit", has_text=search_model.captions[-2]).or_(
        page.locator(".hit", has_text=search_model.captions[-3])
    ).first.click()
    own = page.locator("#viewer-own")
    expect(own).to_contain_text(script)
    assert own.locator("img").count() == 0
    assert page.title() == f"Pictures for “{script}”"


def test_a_slow_answer_does_not_land_under_another_picture(open_page, search_model):
    page = open_page()
    first, second = (search_model.captions_of(item)[0] for item in (3, 8))
    held = []
    page.route("**/api/captions/3?*", lambda route: held.append(route))

    def view(item):
        words = search_model.captions_of(item)[0]
        page.evaluate("i => { view(state.points.find((p) => p.item === i)) }", item)
        expect(page.locator("#viewer-own")).to_contain_text(words)

    view(3)
    view(8)
    near = page.locator("#viewer-near")
    expect(near.locator("button")).to_have_count(8)
    shown = near.all_inner_texts()
    assert first != second
    for route in held:
        # The page may have given it up.
        with contextlib.suppress(Error):
            route.continue_()
    page.wait_for_timeout(500)
    assert near.all_inner_texts() == shown
    expect(page.locator("#viewer-own")).to_contain_text(second)


def test_a_caption_too_long_to_ask_is_text_and_no_button(open_page):
    page = open_page()
    words = "word " * 300
    page.evaluate(
        "words => view({ ...state.points[0], item: 0, name: 'x', "
        "image: 'pictures/0?v=1', captions: [words, 'short'] })",
        words,
    )
    own = page.locator("#viewer-own")
    expect(own).to_contain_text(words.strip())
    assert own.locator("button").all_inner_texts() == ["short"]
    page.evaluate("words => { $('viewer').close(); searchWords(words); }", words)
    expect(page.get_by_role("alert")).to_contain_text("longer than 1,000 characters")


def test_the_keyboard_is_enough(open_page, search_model):
    page = open_page()
    page.keyboard.press("Tab")
    page.keyboard.type(search_model.captions[2])
    page.keyboard.press("Enter")
    expect(first_hit(page)).to_have_text(search_model.captions[2])
    card = page.locator(".hit").first
    card.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    expect(page.locator("#viewer-near button")).to_have_count(8)
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(card).to_be_focused()
    page.locator("#canvas").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#point")).to_have_text(re.compile("^(Picture|Caption): "))
    spoken = page.locator("#point").inner_text()
    page.keyboard.press("Enter")
    if spoken.startswith("Picture"):
        expect(page.get_by_role("dialog")).to_be_visible()
    else:
        words = spoken.removeprefix("Caption: ")
        expect(page.locator("#title")).to_have_text(f"Pictures for “{words}”")


def test_the_map_shows_the_item_under_the_pointer(open_page, search_model):
    page = open_page()
    points = page.evaluate(
        "state.points.map(({at, item, caption}) => ({at, item, caption}))"
    )
    assert len(points) == len(search_model.pictures) + len(search_model.captions)

    def distance(one, other):
        return abs(one["at"][0] - other["at"][0]) + abs(one["at"][1] - other["at"][1])

    # A picture that stands apart from all others.
    picture = max(
        (point for point in points if point.get("item") is not None),
        key=lambda one: min(distance(one, o) for o in points if o is not one),
    )
    canvas = page.locator("#canvas")
    canvas.hover(position={"x": picture["at"][0], "y": picture["at"][1]})
    words = search_model.captions_of(picture["item"])[0]
    expect(page.locator("#tip-text")).to_have_text(words)
    assert page.locator("#tip-image").evaluate("i => i.decode().then(() => i.width)")
    canvas.click(position={"x": picture["at"][0], "y": picture["at"][1]})
    expect(page.locator("#viewer-own")).to_contain_text(words)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_stands_in_the_way_of_anybody(open_page, search_model, scheme):
    page = open_page(color_scheme=scheme)

    def check(state):
        found = Axe().run(page).response
        assert len(found["passes"]) > 10
        serious = [
            (each["id"], [node["html"] for node in each["nodes"]])
            for each in found["violations"]
            if each["impact"] in ("serious", "critical")
        ]
        assert serious == [], state

    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("alert")).to_be_visible()
    check("an error")
    search_for(page, search_model.captions[0])
    expect(page.locator(".hit")).to_have_count(12)
    check("hits")
    page.locator(".hit").first.click()
    expect(page.locator("#viewer-near button")).to_have_count(8)
    check("a picture")


def test_nothing_sticks_out_of_a_narrow_window(open_page, search_model):
    page = open_page(viewport=NARROW)
    search_for(page, search_model.captions[-1])
    expect(page.locator(".hit")).to_have_count(12)
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= NARROW["width"]
    for each in page.locator("main *:visible").all()[:60]:
        box = each.bounding_box()
        assert box["x"] + box["width"] <= NARROW["width"] + 1


def test_the_server_answers_many_at_once(url, search_model):
    queries = search_model.captions[:20]

    def first(query):
        status, body = ask(url, f"/api/search?q={quote(query)}&k=1")
        assert status == 200
        return json.loads(body)["hits"][0]["item"]

    def upload(item):
        data = search_model.pictures[item].read_bytes()
        status, body = ask(url, "/api/captions?k=1", method="POST", body=data)
        assert status == 200
        return json.loads(body)["hits"][0]["item"]

    with ThreadPoolExecutor(16) as pool:
        found = pool.map(first, queries)
        uploads = pool.map(upload, range(10))
        pictures = pool.map(lambda item: ask(url, f"/pictures/{item}")[0], range(40))
        rows = search_model.retriever.predict(queries)
        assert list(found) == rows.tolist()
        assert sum(item == row for row, item in enumerate(uploads)) >= 8
        assert set(pictures) == {200}


def test_the_server_serves_nothing_else(url, photos):
    for address in (
        "/../../../../../../etc/passwd",
        "//etc/passwd",
        "/pictures/../../../etc/passwd",
        f"/pictures/{quote(str(photos / 'captions.csv'), safe='')}",
        "/%2e%2e/%2e%2e/etc/passwd",
    ):
        status, body = ask(url, address)
        assert status in (404, 422), address
        assert b"root:" not in body
    status, body = ask(url, "/api/about", headers={"Host": "rebound.example"})
    assert status == 403
    status, body = ask(url, "/api/captions", method="POST", body=bytes(21 * 2**20))
    assert status == 413
    assert ask(url, "/api/about")[0] == 200


def test_a_port_that_is_taken_is_said(url, model):
    port = str(urlsplit(url).port)
    command = [sys.executable, "-m", "skxmodal.cli", "serve", str(model), "-q"]
    done = subprocess.run(
        [*command, "--port", port], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"Can't listen on port {port} of 127.0.0.1" in line
    assert "--port 0" in line


def test_another_host_is_allowed_by_name_and_warned_of(model):
    with serving(model, "--host", "0.0.0.0", "--allow-host", "photos.example") as (
        url,
        process,
    ):
        for host, status in {
            "photos.example": 200,
            "127.0.0.1:1": 200,
            "10.1.2.3": 200,
            "localhost": 200,
            "rebound.example": 403,
        }.items():
            assert ask(url, "/api/about", headers={"Host": host})[0] == status, host
    assert process.returncode == 0
    assert "other machines can reach 0.0.0.0" in process.said
    assert process.said.splitlines()[-1] == "Stopped."
    assert "Traceback" not in process.said
