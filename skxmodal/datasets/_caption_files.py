"""Readers of the files that captions come in: text in, rows out."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

_IMAGE_COLUMNS = ("image", "image_name", "file_name", "filename", "file", "picture")
_CAPTION_COLUMNS = ("caption", "comment", "text", "sentence")
_KAGGLE_HEADER = re.compile(r"\s*image(_name)?\s*[,;|\t]", re.IGNORECASE)
_TOKEN_NAME = re.compile(r"(?P<image>.+)#(?P<number>\d+)")


class CaptionRow(NamedTuple):
    """One caption as a file gives it."""

    image: str
    caption: str
    where: str
    split: str | None = None


def read_text(path: Path, encoding: str | None) -> str:
    """Text of a file; a byte order mark decides, then `encoding`, then UTF-8."""
    content = path.read_bytes()
    if content.startswith(codecs.BOM_UTF8):
        encoding = "utf-8-sig"
    elif content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    encoding = encoding or "utf-8"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}, line {line}: byte {content[error.start]:#04x} is not "
            f"{encoding}. Give the file's encoding, for example encoding='cp1252'."
        ) from None
    except LookupError:
        raise ValueError(f"encoding={encoding!r} is not one Python knows.") from None


def read_caption_file(path: Path, encoding: str | None = None) -> list[CaptionRow]:
    """Read every caption of a file, in the file's order.

    Parameters
    ----------
    path : pathlib.Path
        A ``.csv``, ``.txt`` or ``.json`` file in one of the known layouts.
    encoding : str, default=None
        Encoding of a file that has no byte order mark. None means UTF-8.

    Returns
    -------
    rows : list of CaptionRow
        At least one.

    Raises
    ------
    ValueError
        If the file is in no known layout, or damaged; the message names the place.
    """
    ending = path.suffix.lower()
    if ending not in _READERS:
        raise ValueError(
            f"{path} is in no known layout: expected a file that ends in "
            f"{', '.join(sorted(_READERS))}, or a folder."
        )
    rows = _READERS[ending](read_text(path, encoding), path)
    if not rows:
        raise ValueError(f"{path} has no captions.")
    for row in rows:
        if not row.caption:
            raise ValueError(
                f"{path}, {row.where}: the caption of {row.image!r} is empty. "
                "Write one or remove the row."
            )
    return rows


def _read_csv(text: str, path: Path) -> list[CaptionRow]:
    header_line = text.lstrip().partition("\n")[0]
    delimiter = max(",;\t|", key=header_line.count)
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        skipinitialspace=True,
        strict=True,
    )
    rows: list[CaptionRow] = []
    header: list[str] | None = None
    start = 1
    try:
        for fields in reader:
            where, start = f"line {start}", reader.line_num + 1
            if not any(field.strip() for field in fields):
                continue
            if header is None:
                header = [field.strip().lower() for field in fields]
                image = _column(header, _IMAGE_COLUMNS, path)
                caption = _column(header, _CAPTION_COLUMNS, path)
                split = header.index("split") if "split" in header else None
                continue
            if len(fields) != len(header):
                raise ValueError(
                    f"{path}, {where}: {len(fields)} fields where the header has "
                    f"{len(header)}. Put a caption that contains {delimiter!r} in "
                    "double quotes."
                )
            rows.append(
                CaptionRow(
                    fields[image].strip(),
                    fields[caption].strip(),
                    where,
                    None if split is None else fields[split].strip(),
                )
            )
    except csv.Error as error:
        raise ValueError(f"{path}, line {start}: not valid CSV: {error}.") from None
    return rows


def _column(header: list[str], names: tuple[str, ...], path: Path) -> int:
    found = [name for name in names if name in header]
    if not found or header.count(found[0]) != 1:
        raise ValueError(
            f"{path}, line 1: expected a header such as 'image,caption' with one "
            f"column named {' or '.join(repr(name) for name in names)}; got "
            f"{', '.join(map(repr, header))[:200]}."
        )
    return header.index(found[0])


def _read_token(text: str, path: Path) -> list[CaptionRow]:
    if _KAGGLE_HEADER.match(text):
        return _read_csv(text, path)
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        name, tab, caption = line.partition("\t")
        match = _TOKEN_NAME.fullmatch(name.strip())
        if not tab or match is None:
            raise ValueError(
                f"{path}, line {number}: expected 'picture.jpg#0<tab>caption' as in "
                f"Flickr8k.token.txt, got {line[:80]!r}."
            )
        rows.append(CaptionRow(match["image"], caption.strip(), f"line {number}"))
    return rows


def _read_json(text: str, path: Path) -> list[CaptionRow]:
    try:
        content = json.loads(text)
    except RecursionError:
        raise ValueError(f"{path}: JSON nested too deeply.") from None
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON: {error}.") from None
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list) or not all(isinstance(i, dict) for i in images):
        raise ValueError(
            f"{path}: expected an object with a list 'images', as in Karpathy's "
            "splits and in COCO's captions."
        )
    if "annotations" in content:
        return _coco_rows(images, content["annotations"], path)
    return _karpathy_rows(images, path)


def _karpathy_rows(images: list[dict[str, Any]], path: Path) -> list[CaptionRow]:
    rows = []
    for i, image in enumerate(images):
        where = f"images[{i}]"
        name = _field(image, "filename", str, path, where)
        folder = image.get("filepath", "")
        split = image.get("split")
        sentences = _field(image, "sentences", list, path, where)
        if not isinstance(folder, str) or not isinstance(split, str | None):
            raise ValueError(f"{path}, {where}: 'filepath' and 'split' must be text.")
        if not sentences:
            raise ValueError(f"{path}, {where}: {name!r} has no sentences.")
        for j, sentence in enumerate(sentences):
            place = f"{where}.sentences[{j}]"
            raw = _field(sentence, "raw", str, path, place)
            full = f"{folder}/{name}" if folder else name
            rows.append(CaptionRow(full, raw.strip(), place, split))
    return rows


def _coco_rows(
    images: list[dict[str, Any]], annotations: Any, path: Path
) -> list[CaptionRow]:
    if not isinstance(annotations, list):
        raise ValueError(f"{path}: 'annotations' must be a list.")
    names: dict[int | str, str] = {}
    for i, image in enumerate(images):
        where = f"images[{i}]"
        key = _field(image, "id", (int, str), path, where)
        if key in names:
            raise ValueError(f"{path}, {where}: the id {key!r} is there twice.")
        names[key] = _field(image, "file_name", str, path, where)
    captions: dict[int | str, list[CaptionRow]] = {key: [] for key in names}
    for i, annotation in enumerate(annotations):
        where = f"annotations[{i}]"
        key = _field(annotation, "image_id", (int, str), path, where)
        caption = _field(annotation, "caption", str, path, where)
        if key not in names:
            raise ValueError(f"{path}, {where}: no image has the id {key!r}.")
        captions[key].append(CaptionRow(names[key], caption.strip(), where))
    bare = [names[key] for key, rows in captions.items() if not rows]
    if bare:
        raise ValueError(
            f"{path}: {len(bare)} of {len(names)} images have no caption, the first "
            f"is {bare[0]!r}. Remove them from 'images'."
        )
    return [row for rows in captions.values() for row in rows]


def _field(
    record: Any, name: str, kind: type | tuple[type, ...], path: Path, where: str
) -> Any:
    value = record.get(name) if isinstance(record, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        raise ValueError(
            f"{path}, {where}: expected {name!r} as "
            f"{' or '.join(k.__name__ for k in kinds)}, got {str(value)[:80]!r}."
        )
    return value


_READERS: dict[str, Callable[[str, Path], list[CaptionRow]]] = {
    ".csv": _read_csv,
    ".json": _read_json,
    ".token": _read_token,
    ".tsv": _read_csv,
    ".txt": _read_token,
}
