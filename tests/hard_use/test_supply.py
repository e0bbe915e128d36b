"""Nothing from elsewhere is fetched, run or opened unless it was asked for."""

from __future__ import annotations

import inspect
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import skxmodal
from skxmodal import TextEncoder, TorchvisionEncoder
from skxmodal.datasets import load_captioned_images

_OFFLINE = """
import sys

def forbid(event, arguments):
    if event.startswith("socket.") and event not in ("socket.gethostname",):
        raise SystemExit(f"{event}{arguments}")

sys.addaudithook(forbid)
import skxmodal.cli, skxmodal.inspection, skxmodal.model_selection
from skxmodal import CrossModalRetriever, ImageEncoder, TextEncoder
from skxmodal.datasets import load_openmoji

data = load_openmoji()
names, pictures = data.names[:96:8], data.pictures[:96:8]
search = CrossModalRetriever(
    query_encoder=TextEncoder(), target_encoder=ImageEncoder()
).fit(names, pictures)
search.save(sys.argv[1])
CrossModalRetriever.load(sys.argv[1]).kneighbors(["a heart"])
sys.stdout.write("no socket")
"""


def test_no_network_access_with_packaged_models(tmp_path):
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("HF_")
    }
    environment |= {"HF_HOME": str(tmp_path), "SKXMODAL_CACHE": str(tmp_path / "c")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _OFFLINE, tmp_path / "model"],
        capture_output=True,
        text=True,
        timeout=800,
        env=environment,
    )
    assert done.stdout == "no socket", done.stderr[-2000:]


_HUB = """
import sys

def tell(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise SystemExit(f"reached for {arguments}")

sys.addaudithook(tell)
from skxmodal import TextEncoder
TextEncoder("nobody/no-such-model", cache=False).transform(["a"])
"""


def test_an_offline_hub_is_respected(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", _HUB],
        capture_output=True,
        text=True,
        timeout=800,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)},
    )
    assert "reached for" not in done.stderr
    assert "nobody/no-such-model" in done.stderr
    assert "offline" in done.stderr.lower()


def test_no_code_of_a_model_is_trusted_by_default():
    encoders = [
        member
        for _, member in inspect.getmembers(skxmodal, inspect.isclass)
        if "trust_remote_code" in inspect.signature(member).parameters
    ]
    assert TextEncoder in encoders
    for encoder in encoders:
        signature = inspect.signature(encoder)
        assert signature.parameters["trust_remote_code"].default is False


def test_code_beside_a_checkpoint_is_not_run(tiny_bert, tmp_path):
    folder = Path(shutil.copytree(tiny_bert, tmp_path / "bert"))
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "trap.Trap", "AutoConfig": "trap.Trap"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "trap.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Trap: pass\n"
    )
    try:
        TextEncoder(str(folder), cache=False).transform(["a dog"])
    except (OSError, ValueError) as error:
        message = str(error)
        assert "trust_remote_code" in message
    assert not (tmp_path / "ran").exists()


class Trap:
    """What runs a command when it is unpickled without care."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("kind", ["torch", "pickle"])
def test_weights_are_not_unpickled(kind, tmp_path):
    path = tmp_path / "weights.pth"
    if kind == "torch":
        torch.save({"fc.weight": Trap(tmp_path / "ran")}, path)
    else:
        path.write_bytes(pickle.dumps({"fc.weight": Trap(tmp_path / "ran")}))
    encoder = TorchvisionEncoder("resnet18", weights=path, cache=False)
    with pytest.raises((ValueError, OSError, pickle.UnpicklingError)) as caught:
        encoder.transform([torch.zeros(8, 8, 3, dtype=torch.uint8).numpy()])
    assert str(path) in str(caught.value) or "weights" in str(caught.value).lower()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "name", ["../secret.png", "/etc/hostname", "a/../../secret.png", "..\\secret.png"]
)
@pytest.mark.parametrize("layout", ["csv", "token", "json"])
def test_captions_do_not_lead_out_of_their_folder(layout, name, tmp_path, cat):
    shutil.copy(cat, tmp_path / "secret.png")
    folder = tmp_path / "data"
    folder.mkdir()
    contents = {
        "csv": f"image,caption\n{name},a cat\n",
        "token": f"{name}#0\ta cat\n",
        "json": json.dumps(
            {"images": [{"filename": name, "sentences": [{"raw": "a"}]}]}
        ),
    }
    ending = "txt" if layout == "token" else layout
    path = folder / f"captions.{ending}"
    path.write_text(contents[layout])
    with pytest.raises(ValueError, match=r"leads out of|absolute path to elsewhere"):
        load_captioned_images(path)
