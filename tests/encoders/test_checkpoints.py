"""Where checkpoints come from, and what is refused."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
import time
from hashlib import blake2b
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from skxmodal.encoders import ImageEncoder, TextEncoder
from skxmodal.encoders._checkpoints import digest, load_weights, locate, read_json

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def text_encoder(model, **parameters) -> TextEncoder:
    return TextEncoder(model, cache=False, **parameters)


@pytest.mark.parametrize("kind", [TextEncoder, ImageEncoder])
def test_a_hub_that_cannot_be_reached_is_told_at_once(kind):
    start = time.perf_counter()
    with pytest.raises(OSError) as caught:
        kind("nobody/nothing", cache=False).transform(
            [b"a" if kind is ImageEncoder else "a"]
        )
    message = str(caught.value)
    assert "The model nobody/nothing is no local folder" in message
    assert "hub can't be reached" in message
    assert "hf download nobody/nothing --local-dir FOLDER" in message
    assert "model='FOLDER'" in message
    assert time.perf_counter() - start < 30


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("./no/folder", "no such folder"),
        ("/no/folder", "no such folder"),
        ("~/no/folder", "no such folder"),
        (Path("no/folder"), "no such folder"),
        ("a/b/c", "no id on the Hugging Face hub"),
        ("a model with blanks", "no id on the Hugging Face hub"),
        ("", "no such folder|no checkpoint"),
    ],
)
def test_names_that_are_neither_folder_nor_id(model, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError, match=message):
        text_encoder(model).transform(["a"])


def test_a_file_is_no_checkpoint(tiny_bert):
    with pytest.raises(OSError, match=r"is a file. Pass the folder"):
        text_encoder(tiny_bert / "model.safetensors").transform(["a"])


def put_into_hub_cache(folder: Path, name: str, revision: str = "main") -> None:
    """Lay a checkpoint where the hub's client keeps what it downloaded."""
    root = Path(os.environ["HF_HOME"]) / "hub" / f"models--{name.replace('/', '--')}"
    (root / "refs").mkdir(parents=True, exist_ok=True)
    (root / "refs" / revision).write_text(COMMIT)
    shutil.copytree(folder, root / "snapshots" / COMMIT, dirs_exist_ok=True)


def test_a_downloaded_model_needs_no_network(tiny_bert):
    put_into_hub_cache(tiny_bert, "tiny/bert")
    expected = text_encoder(tiny_bert).transform(["a dog"])
    np.testing.assert_array_equal(
        text_encoder("tiny/bert").transform(["a dog"]), expected
    )
    put_into_hub_cache(tiny_bert, "tiny/bert", "v1.0")
    own = text_encoder("tiny/bert", revision="v1.0")
    np.testing.assert_array_equal(own.transform(["a dog"]), expected)
    with pytest.raises(OSError, match="can't be reached"):
        text_encoder("tiny/bert", revision="v2.0").transform(["a dog"])


def test_offline_the_hub_is_not_asked(tiny_bert):
    put_into_hub_cache(tiny_bert, "tiny/offline")
    code = """
import socket
def refuse(*args, **kwargs):
    raise AssertionError("asked the network")
from skxmodal.encoders import TextEncoder
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
print(TextEncoder("tiny/offline", cache=False).transform(["a dog"]).shape)
try:
    TextEncoder("tiny/other", cache=False).transform(["a dog"])
except OSError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    shape, message = done.stdout.strip().splitlines()
    assert shape == "(1, 16)"
    assert "asked the network" not in message
    assert "--local-dir" in message


class Hub(BaseHTTPRequestHandler):
    """The few answers of the hub that a download needs."""

    folder: Path
    asked: list[str]

    def do_HEAD(self) -> None:
        self.answer(send=False)

    def do_GET(self) -> None:
        self.answer(send=True)

    def answer(self, send: bool) -> None:
        path = self.path.partition("?")[0]
        self.asked.append(f"{self.command} {path}")
        files = [file for file in self.folder.rglob("*") if file.is_file()]
        names = [file.relative_to(self.folder).as_posix() for file in files]
        if path.startswith("/api/models/tiny/served/tree/"):
            tree = [
                {"type": "file", "path": name, "size": file.stat().st_size, "oid": name}
                for name, file in zip(names, files, strict=True)
            ]
            body, status = json.dumps(tree).encode(), 200
        elif path.startswith("/api/models/tiny/served"):
            facts = {
                "id": "tiny/served",
                "sha": COMMIT,
                "siblings": [{"rfilename": name} for name in names],
            }
            body, status = json.dumps(facts).encode(), 200
        elif path.startswith(f"/tiny/served/resolve/{COMMIT}/"):
            body = (self.folder / path.partition(COMMIT + "/")[2]).read_bytes()
            status = 200
        else:
            body, status = b"{}", 404
        self.send_response(status)
        if status == 404:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{blake2b(body, digest_size=20).hexdigest()}"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if send:
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def test_a_download_takes_what_is_read_and_no_more(tiny_bert, tmp_path):
    folder = Path(shutil.copytree(tiny_bert, tmp_path / "served"))
    for name in ("pytorch_model.bin", "tf_model.h5", "onnx/model.onnx", "own.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"not read")
    handler = type("Handler", (Hub,), {"folder": folder, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    code = """
from skxmodal.encoders import TextEncoder
print(TextEncoder("tiny/served", cache=False).transform(["a dog"])[0, :2].tolist())
try:
    TextEncoder("tiny/unknown", cache=False).transform(["a dog"])
except OSError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "HF_HOME": str(tmp_path / "home"),
        },
    )
    server.shutdown()
    server.server_close()
    assert done.returncode == 0, done.stderr
    vector, message = done.stdout.strip().splitlines()
    expected = text_encoder(tiny_bert).transform(["a dog"])[0, :2]
    np.testing.assert_allclose(json.loads(vector), expected, atol=1e-6)
    assert "has no model tiny/unknown, or it is private" in message
    fetched = {call.rpartition("/")[2] for call in handler.asked if "resolve" in call}
    assert "model.safetensors" in fetched
    assert not fetched & {"pytorch_model.bin", "tf_model.h5", "model.onnx", "own.py"}


def test_a_checkpoint_without_all_weights_is_refused(tiny_bert, tmp_path):
    from safetensors.numpy import load_file, save_file

    folder = Path(shutil.copytree(tiny_bert, tmp_path / "bert"))
    state = load_file(folder / "model.safetensors")
    lost = next(name for name in state if "attention" in name)
    del state[lost]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(OSError, match=f"lacks 1 of the weights.*{lost}"):
        text_encoder(folder).transform(["a"])


def test_weights_that_lie_in_a_pickle_are_read_as_tensors_only(
    tiny_bert, tmp_path, capsys
):
    import torch
    from safetensors.torch import load_file

    folder = Path(shutil.copytree(tiny_bert, tmp_path / "bert"))
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    expected = text_encoder(tiny_bert).transform(["a dog"])
    np.testing.assert_array_equal(text_encoder(folder).transform(["a dog"]), expected)

    class Evil:
        def __reduce__(self):
            return (print, ("this pickle ran",))

    torch.save({**state, "more": Evil()}, folder / "pytorch_model.bin")
    with pytest.raises((OSError, pickle.UnpicklingError)):
        text_encoder(folder).transform(["a dog"])
    assert "this pickle ran" not in capsys.readouterr().out


def test_code_of_a_checkpoint_runs_only_where_asked(tiny_bert, tmp_path):
    folder = Path(shutil.copytree(tiny_bert, tmp_path / "own"))
    ran = tmp_path / "ran"
    code = f"""
from pathlib import Path
from transformers import BertConfig, BertModel
Path({str(ran)!r}).touch()
class OwnConfig(BertConfig):
    model_type = "own-bert"
class OwnModel(BertModel):
    config_class = OwnConfig
"""
    (folder / "own.py").write_text(code)
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = "own-bert"
    config["auto_map"] = {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="trust_remote_code=True"):
        text_encoder(folder).transform(["a dog"])
    assert not ran.exists()
    own = text_encoder(folder, trust_remote_code=True)
    np.testing.assert_allclose(
        own.transform(["a dog"]),
        text_encoder(tiny_bert).transform(["a dog"]),
        atol=1e-6,
    )
    assert ran.exists()


def test_a_folder_of_unknown_modules_is_refused(tiny_bert, tmp_path):
    folder = Path(shutil.copytree(tiny_bert, tmp_path / "st"))
    modules = [
        {"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": "1_LSTM", "type": "sentence_transformers.models.LSTM"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(OSError, match=r"made of the modules \['Transformer', 'LSTM'\]"):
        text_encoder(folder).transform(["a"])
    (folder / "modules.json").write_text("[{")
    with pytest.raises(OSError, match=r"modules\.json is damaged"):
        text_encoder(folder).transform(["a"])


def test_an_activation_from_elsewhere_is_refused(tiny_bert, tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules

    folder = tmp_path / "st"
    SentenceTransformer(
        modules=[
            modules.Transformer(str(tiny_bert)),
            modules.Pooling(16),
            modules.Dense(16, 4),
        ],
        device="cpu",
    ).save(str(folder))
    file = folder / "2_Dense" / "config.json"
    for name in ("os.system", "torch.nn.functional.tanh", "torch.nn.nothing"):
        config = {**json.loads(file.read_text()), "activation_function": name}
        file.write_text(json.dumps(config))
        with pytest.raises(OSError, match=f"The activation '{name}'"):
            text_encoder(folder).transform(["a"])


def test_a_folder_that_is_no_checkpoint(tmp_path):
    with pytest.raises(OSError, match=r"neither config\.json nor modules\.json"):
        text_encoder(tmp_path).transform(["a"])


def test_digests_follow_what_changes_a_vector_and_nothing_else(tiny_bert, tmp_path):
    folder = Path(shutil.copytree(tiny_bert, tmp_path / "a"))
    before = digest(folder)
    (folder / "README.md").write_text("words")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "config.json").write_text("{}")
    assert digest(folder) == before == digest(tiny_bert)
    (folder / "vocab.txt").write_text("other words")
    changed = digest(folder)
    assert changed != before
    (folder / "vocab.txt").rename(folder / "words.txt")
    assert digest(folder) not in (before, changed)


def test_locate_gives_a_folder_as_it_is(tiny_bert, monkeypatch):
    monkeypatch.chdir(tiny_bert.parent)
    assert locate(tiny_bert.name, None, False) == Path(tiny_bert.name)
    assert locate(tiny_bert, "any", False) == tiny_bert


def test_small_readers(tmp_path):
    assert read_json(tmp_path / "none.json", default=3) == 3
    with pytest.raises(FileNotFoundError, match="no file of weights"):
        load_weights(tmp_path / "none.pth")
