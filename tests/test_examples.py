"""What the examples say where they can't run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from PIL import Image

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_captions_objective_needs_several_captions_before_any_encoding(tmp_path):
    lines = ["image,caption"]
    for number in range(8):
        Image.new("RGB", (8, 8), (30 * number, 0, 0)).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,picture {number}")
    (tmp_path / "captions.csv").write_text("\n".join(lines), encoding="utf-8")
    # No such model: encoding would fail otherwise.
    options = ["--objective", "captions", "--text-model", "./none"]
    ended = subprocess.run(
        [sys.executable, EXAMPLES / "plot_paper.py", tmp_path, *options],
        capture_output=True,
        text=True,
        env={**os.environ, "MPLBACKEND": "agg"},
        check=False,
    )
    assert ended.returncode == 2
    assert "needs several captions of a picture" in ended.stderr
    assert "Traceback" not in ended.stderr
