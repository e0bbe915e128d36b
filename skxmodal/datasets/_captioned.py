"""Pictures with captions from the layouts people have them in."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
from sklearn.utils import Bunch

from skxmodal.datasets._caption_files import CaptionRow, read_caption_file

_PICTURE_ENDINGS = frozenset(
    [".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"]
)
_CAPTION_PATTERNS = (
    "captions.csv",
    "captions.txt",
    "*.token.txt",
    "*.token",
    "dataset*.json",
    "captions*.json",
)
_FOLDERS_OF_CAPTIONS = (".", "annotations", "captions")
_PICTURE_FOLDERS = (
    ".",
    "images",
    "Images",
    "Flicker8k_Dataset",
    "Flickr8k_Dataset",
    "flickr30k_images",
    "flickr30k-images",
    "train2014",
    "val2014",
    "train2017",
    "val2017",
    "test2014",
    "test2017",
)

_DESCRIPTION = """\
{n_captions} captions of {n_images} pictures
source: {source}
pictures: {image_folder}
"""


def load_captioned_images(
    source: str | os.PathLike[str],
    *,
    image_folder: str | os.PathLike[str] | None = None,
    split: str | Iterable[str] | None = None,
    on_missing: str = "raise",
    encoding: str | None = None,
) -> Bunch:
    """Load captions and the paths of their pictures.

    No picture is opened. One row is one caption; a picture with five captions has
    five rows. Rows that are there twice are kept.

    Parameters
    ----------
    source : path-like
        A captions file, or a folder. The layouts:

        - a ``.csv`` file with the header ``image,caption`` (a column ``split`` is
          read too; comma, semicolon, tab and ``|`` may separate);
        - Flickr8k's and Flickr30k's ``*.token.txt``, lines of
          ``picture.jpg#0<tab>caption``;
        - Karpathy's JSON, with its splits;
        - COCO captions JSON;
        - a folder that holds one of these, named ``captions.csv``, ``captions.txt``,
          ``*.token.txt``, ``dataset*.json`` or ``captions*.json``, itself or in its
          subfolder ``annotations`` or ``captions``;
        - a folder of pictures, with its subfolders, whose names are the captions:
          ``a dog on a beach.jpg``. Underscores count as spaces.
    image_folder : path-like, default=None
        Folder that the names in the file start from. None means the folder of the
        file, or where none of the pictures is there, the usual folder of that data
        set (``images``, ``Flicker8k_Dataset``, ``val2014``, ...) beside the file or
        beside the file's folder.
    split : str or iterable of str, default=None
        Keep the rows of these splits, such as ``"test"`` or
        ``("train", "restval")``. None keeps all.
    on_missing : {"raise", "warn"}, default="raise"
        What to do about rows whose picture is not there: an error that names them,
        or a warning that does, and the other rows.
    encoding : str, default=None
        Encoding of a file that has no byte order mark. None means UTF-8.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes:

        captions : list of str
            One for each row, without the white space around it.
        images : list of pathlib.Path
            Picture of each caption.
        groups : ndarray of shape (n_captions,), dtype int64
            Number of each caption's picture, by first appearance: what
            ``GroupKFold`` and :meth:`CrossModalRetriever.fit` take as `groups`.
        splits : list of str or None
            Split of each caption, where the source has splits.
        missing : list of pathlib.Path
            Pictures that are not there, with ``on_missing="warn"``.
        image_folder : pathlib.Path
            Where the pictures are.
        DESCR : str
            What was loaded.

    Raises
    ------
    FileNotFoundError
        If `source`, `image_folder` or a picture is not there.
    ValueError
        If the source is in no known layout or damaged, a caption is empty, a name
        leads out of `image_folder`, or no row is in `split`. The message names the
        file and the line.

    Warns
    -----
    UserWarning
        For the rows that ``on_missing="warn"`` leaves out, and for the files of a
        folder of pictures that are no pictures by their ending.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from skxmodal.datasets import load_captioned_images
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("RGB", (8, 8), "red").save(Path(folder, "a_red_square.png"))
    ...     data = load_captioned_images(folder)
    >>> data.captions
    ['a red square']
    """
    source = Path(source).expanduser()
    if on_missing not in ("raise", "warn"):
        raise ValueError(f"on_missing must be 'raise' or 'warn', got {on_missing!r}.")
    if not source.exists():
        raise FileNotFoundError(f"{source} does not exist.")
    if image_folder is not None and not Path(image_folder).expanduser().is_dir():
        raise FileNotFoundError(f"image_folder={str(image_folder)!r} is no folder.")
    file = _captions_file(source) if source.is_dir() else source
    if file is None:
        if image_folder is not None:
            raise ValueError(
                f"image_folder is for a captions file, and {source} has none of "
                f"{', '.join(_CAPTION_PATTERNS)}."
            )
        rows, root = _rows_from_names(source), source
    elif not file.is_file():
        raise ValueError(f"{file} is neither a file nor a folder.")
    else:
        rows = read_caption_file(file, encoding)
        root = (
            _picture_folder(file.parent, rows)
            if image_folder is None
            else Path(image_folder).expanduser()
        )
    rows = _of_split(rows, split, file or source)
    rows, paths, missing = _existing(rows, root, file or source, on_missing)
    numbers: dict[Path, int] = {}
    groups = [numbers.setdefault(path, len(numbers)) for path in paths]
    splits = [row.split for row in rows]
    return Bunch(
        captions=[row.caption for row in rows],
        images=paths,
        groups=np.array(groups, dtype=np.int64),
        splits=None if all(name is None for name in splits) else splits,
        missing=missing,
        image_folder=root,
        DESCR=_DESCRIPTION.format(
            n_captions=len(rows),
            n_images=len(numbers),
            source=file or source,
            image_folder=root,
        ),
    )


def _captions_file(folder: Path) -> Path | None:
    for name in _FOLDERS_OF_CAPTIONS:
        beside = folder / name
        found = sorted({p for each in _CAPTION_PATTERNS for p in beside.glob(each)})
        if len(found) > 1:
            raise ValueError(
                f"{beside} holds several captions files: "
                f"{', '.join(path.name for path in found)}. Give one of them as source."
            )
        if found:
            return found[0]
    return None


def _rows_from_names(folder: Path) -> list[CaptionRow]:
    rows = []
    others: list[str] = []
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(parent, name)
            if name.startswith("."):
                continue
            if path.suffix.lower() not in _PICTURE_ENDINGS:
                others.append(path.suffix.lower() or name)
                continue
            relative = path.relative_to(folder).as_posix()
            caption = " ".join(path.stem.replace("_", " ").split())
            if not caption:
                raise ValueError(f"{path}: the file's name holds no caption.")
            rows.append(CaptionRow(relative, caption, f"file {relative}"))
    if not rows:
        raise ValueError(
            f"{folder} holds neither a captions file ({', '.join(_CAPTION_PATTERNS)}) "
            f"nor a picture ({', '.join(sorted(_PICTURE_ENDINGS))})."
        )
    if others:
        kinds = ", ".join(f"{n} {kind}" for kind, n in Counter(others).most_common(5))
        warnings.warn(
            f"{len(others)} files in {folder} are no pictures by their ending and "
            f"were left out: {kinds}.",
            UserWarning,
            stacklevel=3,
        )
    return rows


def _picture_folder(beside: Path, rows: list[CaptionRow]) -> Path:
    """The first known folder that holds any of the pictures."""
    folders = [beside / name for name in _PICTURE_FOLDERS]
    if beside.name in _FOLDERS_OF_CAPTIONS:
        folders += [beside.parent / name for name in _PICTURE_FOLDERS]
    folders = [folder for folder in folders if folder.is_dir()]
    names = dict.fromkeys(row.image for row in rows)
    for name in names:
        for folder in folders:
            if _leads_out(name, folder) is None and _is_file(folder / name):
                return folder
    return beside


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name longer than the file system takes
        return False


def _leads_out(name: str, root: Path) -> str | None:
    """Why a name from a captions file may not be opened; None where it may."""
    if not name:
        return "is empty"
    if "\0" in name:
        return "contains a NUL character"
    windows = PureWindowsPath(name)
    if ".." in windows.parts:
        return "leads out of that folder"
    absolute = PurePosixPath(name).is_absolute() or windows.drive or windows.root
    if absolute and not Path(name).is_relative_to(root.absolute()):
        return "is an absolute path to elsewhere"
    return None


def _of_split(
    rows: list[CaptionRow], split: str | Iterable[str] | None, source: Path
) -> list[CaptionRow]:
    if split is None:
        return rows
    wanted = {split} if isinstance(split, str) else set(split)
    there = {row.split for row in rows if row.split is not None}
    if not there:
        raise ValueError(f"split={split!r}: {source} has no splits.")
    unknown = wanted - there
    if unknown or not wanted:
        raise ValueError(
            f"split={split!r}: {source} has the splits {', '.join(sorted(there))}."
        )
    return [row for row in rows if row.split in wanted]


def _existing(
    rows: list[CaptionRow], root: Path, source: Path, on_missing: str
) -> tuple[list[CaptionRow], list[Path], list[Path]]:
    """Rows whose picture is there, their paths, and the paths that are not."""
    known: dict[str, tuple[Path, bool]] = {}
    kept, paths = [], []
    missing: dict[Path, str] = {}
    for row in rows:
        if row.image not in known:
            problem = _leads_out(row.image, root)
            if problem is not None:
                raise ValueError(
                    f"{source}, {row.where}: the picture's name {row.image[:200]!r} "
                    f"{problem}. Pictures must be inside {root}, or give image_folder."
                )
            path = Path(root, row.image)
            known[row.image] = path, _is_file(path)
        path, there = known[row.image]
        if there:
            kept.append(row)
            paths.append(path)
        else:
            missing.setdefault(path, row.where)
    if missing:
        shown = ", ".join(
            f"{path.name[:100]} ({where})" for path, where in list(missing.items())[:5]
        )
        message = (
            f"{source}: {_count(len(missing), 'picture is', 'pictures are')} not in "
            f"{root}, {_count(len(rows) - len(kept), 'caption', 'captions')} without "
            f"one: {shown}"
            f"{', ...' if len(missing) > 5 else ''}."
        )
        if on_missing == "raise" or not kept:
            raise FileNotFoundError(
                f"{message} Give their folder as image_folder"
                + ("." if not kept else ", or on_missing='warn' to go without them.")
            )
        warnings.warn(message, UserWarning, stacklevel=3)
    return kept, paths, list(missing)


def _count(n: int, one: str, several: str) -> str:
    return f"{n} {one if n == 1 else several}"
