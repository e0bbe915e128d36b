"""What the encoders of pictures share."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skxmodal._content import content_keys, hash_file
from skxmodal._pictures import PictureError, open_picture
from skxmodal._progress import Progress
from skxmodal._warnings import warn_user
from skxmodal.encoders._base import BaseEncoder
from skxmodal.encoders._cache import resolve_cache
from skxmodal.encoders._image_model import ImageModel
from skxmodal.encoders._items import as_pictures, check_picture
from skxmodal.encoders._threads import in_threads


class PictureEncoder(BaseEncoder):
    """Encoder of pictures. A subclass says which network and how it is prepared for."""

    def _items(self, X: Any, start: int = 0) -> list[Any]:
        return as_pictures(X, start)

    def _finish(self, network: Any) -> bool:
        """Change a network before it is put to use; whether to fold its batch norms."""
        return True

    def _keys(self, items: list[Any], start: int = 0) -> list[bytes]:
        keys = [b""] * len(items)
        readable = []
        for row, item in enumerate(items):
            try:
                check_picture(item, start + row)
                readable.append(row)
            except PictureError:
                if self.on_error == "raise":
                    raise
                keys[row] = _key_of_unreadable(item, start + row)
        found = self._content_keys(items, readable, start)
        for row, key in zip(readable, found, strict=True):
            keys[row] = key
        return keys

    def _content_keys(
        self, items: list[Any], rows: list[int], start: int
    ) -> list[bytes]:
        if not rows:
            return []
        store = resolve_cache(self.cache)
        hash_files = None if store is None else store.hash_files
        try:
            return content_keys(
                [items[row] for row in rows], kind="picture", hash_files=hash_files
            )
        except ValueError:
            # One at a time, to say which it was.
            return [self._content_key(items[row], start + row) for row in rows]

    def _content_key(self, item: Any, row: int) -> bytes:
        try:
            return content_keys([item], kind="picture")[0]
        except ValueError as error:
            if self.on_error == "nan":
                return _key_of_unreadable(item, row)
            reason = error.__cause__ or error
            path = os.fspath(item) if isinstance(item, str | os.PathLike) else None
            raise PictureError(
                f"Row {row}: the picture{'' if path is None else f' {path!r}'} can't "
                f"be read ({type(reason).__name__}: {reason}). Check that it may be "
                "read, or leave it out.",
                row=row,
                path=path,
            ) from error

    def _encode(
        self, model: ImageModel, items: list[Any], rows: list[int], bar: Progress
    ) -> tuple[NDArray[np.float32], list[int]]:
        vectors = np.full((len(items), model.dimension), np.nan, dtype=np.float32)
        unreadable: list[int] = []

        def prepare(place: int) -> NDArray[np.float32] | PictureError:
            try:
                picture = open_picture(items[place], row=rows[place])
            except PictureError as error:
                return error
            return model.prepare(picture)

        def embed(results: Mapping[int, NDArray[np.float32] | PictureError]) -> None:
            prepared = {}
            for place, result in results.items():
                if not isinstance(result, PictureError):
                    prepared[place] = result
                elif self.on_error == "raise":
                    raise result
                else:
                    unreadable.append(place)
            for places in _of_equal_shape(prepared):
                vectors[places] = model.embed(
                    np.stack([prepared[place] for place in places])
                )

        size = model.at_once(self.batch_size)
        batches = [
            range(start, min(start + size, len(items)))
            for start in range(0, len(items), size)
        ]
        if model.run is not None:
            # Each thread takes its own pictures from the file to the vector.
            def whole(batch: range) -> None:
                embed({place: prepare(place) for place in batch})

            with closing(in_threads(whole, batches)) as done:
                for batch, _ in zip(batches, done, strict=True):
                    bar.update(len(batch))
            return vectors, sorted(unreadable)
        # Threads open the next pictures while the network runs.
        opened = in_threads(prepare, range(len(items)), ahead=2 * self.batch_size)
        with closing(opened) as results:
            for batch in batches:
                embed({place: next(results) for place in batch})
                bar.update(len(batch))
        return vectors, unreadable

    def _as_keyed(self, items: list[Any], keys: list[bytes]) -> NDArray[np.bool_]:
        return np.array([_is_as_keyed(*pair) for pair in zip(items, keys, strict=True)])

    def _warn_of(self, rows: list[int], items: list[Any], start: int) -> None:
        named = [
            f"row {start + row}: {os.fspath(items[row])}"
            if isinstance(items[row], str | os.PathLike)
            else f"row {start + row}"
            for row in rows
        ]
        warn_user(
            f"{len(rows)} of {len(items)} pictures can't be read and are rows of NaN: "
            + "; ".join(named),
            UserWarning,
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        return tags


def _is_as_keyed(item: Any, key: bytes) -> bool:
    """Whether a file wasn't replaced between its being hashed and its being decoded."""
    if not isinstance(item, str | os.PathLike):
        return True
    try:
        return hash_file(item) == key
    except OSError:
        return False


def _of_equal_shape(prepared: dict[int, NDArray[np.float32]]) -> list[list[int]]:
    """Places of prepared pictures that fit into one batch.

    Some processors keep a picture's proportions.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for place, values in prepared.items():
        groups.setdefault(values.shape, []).append(place)
    return list(groups.values())


def _key_of_unreadable(item: Any, row: int) -> bytes:
    named = isinstance(item, str | os.PathLike)
    name = os.fspath(item) if named else str(row)
    return blake2b(os.fsencode(name), digest_size=20, person=b"unreadable").digest()
