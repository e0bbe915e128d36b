"""Progress bars, shown only where asked for."""

from __future__ import annotations

import subprocess
import sys

from skxmodal._progress import Progress, progress


def test_nothing_is_shown_where_not_asked_for(capsys):
    assert list(progress(range(5), enabled=False)) == [0, 1, 2, 3, 4]
    with Progress(3, "x", enabled=False) as bar:
        bar.update(3)
    assert capsys.readouterr() == ("", "")


def test_a_bar_counts_to_its_total(capsys):
    assert list(progress(iter("abc"), 3, "Letters", enabled=True)) == ["a", "b", "c"]
    assert list(progress(["d"], description="One")) == ["d"]
    shown = capsys.readouterr().err
    assert list(progress([], description="Nothing")) == []
    assert capsys.readouterr().err == ""
    assert "Letters" in shown
    assert "3/3" in shown
    assert "1/1" in shown


def test_without_tqdm_there_is_no_bar():
    code = """
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "tqdm" else found(name)
from skxmodal._progress import progress
print(list(progress([1, 2], enabled=True)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("[1, 2]\n", "")
