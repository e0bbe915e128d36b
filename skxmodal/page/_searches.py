"""What the page asks of a model."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from skxmodal._validation import unit_rows
from skxmodal.neighbors._subspace import in_subspace
from skxmodal.page._map import SharedMap
from skxmodal.page._pictures import Thumbnails

if TYPE_CHECKING:
    from skxmodal.neighbors._gallery import Gallery

_N_EXAMPLES = 3
_EXAMPLE_LENGTH = 70

ResultT = TypeVar("ResultT")


class Searches:
    """Answers of a fitted retriever, as the page shows them.

    Encoders run in one thread of their own: each call uses every core by itself,
    and tokenisers are not made for two callers at once.

    Parameters
    ----------
    retriever : CrossModalRetriever
        Fitted to captions and pictures given as paths.
    pictures : list of pathlib.Path
        File of each picture of the gallery.
    captions : list of str
        The captions of the fit.
    item_of_caption : ndarray of int
        Row of the gallery that each caption belongs to.
    caption_gallery : Gallery
        Index over the captions.
    """

    def __init__(
        self,
        retriever: Any,
        pictures: Sequence[Path],
        captions: Sequence[str],
        item_of_caption: NDArray[Any],
        caption_gallery: Gallery,
    ) -> None:
        self.retriever = retriever
        self.captions = [_well_formed(caption) for caption in captions]
        self._item_of_caption = np.asarray(item_of_caption)
        self._rows_of_item: list[list[int]] = [[] for _ in pictures]
        for row, item in enumerate(self._item_of_caption.tolist()):
            self._rows_of_item[item].append(row)
        self._gallery = retriever._gallery
        self._caption_gallery = caption_gallery
        # Models saved in Python may mix paths below the working folder with others.
        pictures = [path.absolute() for path in pictures]
        self._names = _names_below_common_folder(pictures)
        encoder = retriever.target_encoder_
        self.thumbnails = Thumbnails(
            pictures,
            self._gallery.keys,
            lambda data: encoder.content_keys([data])[0],
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="encoders")

    @property
    def n_pictures(self) -> int:
        """Number of pictures in the gallery."""
        return len(self._names)

    @cached_property
    def map(self) -> SharedMap:
        """The shared space in two dimensions."""
        return SharedMap(self._gallery.vectors, self._caption_gallery.vectors)

    def submit(
        self, function: Callable[..., ResultT], *arguments: Any
    ) -> Future[ResultT]:
        """Have a search done in the encoders' thread."""
        return self._thread.submit(function, *arguments)

    def close(self) -> None:
        """Let the running search end, and start no other."""
        self._thread.shutdown(cancel_futures=True)
        self.thumbnails.close()

    def warm_up(self) -> None:
        """Load both encoders and draw the map, so that nobody waits for it later."""
        self.find_pictures("warm up", 1)
        blank = np.full((8, 8, 3), 255, dtype=np.uint8)
        self.retriever.transform_target([blank])

    def about(self) -> dict[str, Any]:
        """What is searched, and what might be asked."""
        fitted = self.retriever
        short = [text for text in self.captions if 0 < len(text) <= _EXAMPLE_LENGTH]
        step = max(1, len(short) // _N_EXAMPLES)
        return {
            "n_pictures": self.n_pictures,
            "n_captions": len(self.captions),
            "mapper": type(fitted.mapper_).__name__,
            "text_encoder": _encoder_name(fitted.query_encoder_),
            "image_encoder": _encoder_name(fitted.target_encoder_),
            "corrected": fitted.hubness_ is not None,
            "examples": short[step // 2 :: step][:_N_EXAMPLES],
        }

    def find_pictures(self, words: str, n_hits: int) -> dict[str, Any]:
        """Pictures that fit some words, the best first."""
        vectors = self._in_space(self.retriever.transform([words]))
        n_hits = min(n_hits, self.n_pictures)
        scores, rows = self._gallery.search(vectors, n_hits)
        places = self.map.place(self._gallery.vectors[rows[0]])
        return {
            "query": words,
            "place": self.map.place(vectors)[0],
            "n_possible": self.n_pictures,
            "hits": [
                {**self.describe(item), "score": round(float(score), 4), "place": place}
                for item, score, place in zip(
                    rows[0].tolist(), scores[0], places, strict=True
                )
            ],
        }

    def find_captions(self, picture: NDArray[np.uint8], n_hits: int) -> dict[str, Any]:
        """Captions that fit a new picture, given as pixels, the best first."""
        shared = self.retriever.transform_target([picture])
        return self._captions_of(self._in_space(shared), n_hits)

    def captions_of_item(self, item: int, n_hits: int) -> dict[str, Any]:
        """Captions that fit a picture of the gallery, the best first."""
        answer = self._captions_of(self._gallery.vectors[item : item + 1], n_hits)
        return {**self.describe(item), **answer}

    def describe(self, item: int) -> dict[str, Any]:
        """Say what is known of a picture of the gallery."""
        rows = self._rows_of_item[item]
        # A browser keeps pictures by address: another model has other addresses.
        version = self._gallery.keys[item].hex()[:12]
        return {
            "item": item,
            "name": self._names[item],
            "captions": [self.captions[row] for row in rows],
            "image": f"pictures/{item}?v={version}",
        }

    def draw_map(self) -> dict[str, Any]:
        """Places of both sides on the map."""
        shown_pictures = self.map.shown_pictures
        shown_captions = self.map.shown_captions
        pictures = self.map.place(self._gallery.vectors[shown_pictures])
        captions = self.map.place(self._caption_gallery.vectors[shown_captions])
        return {
            "share": round(self.map.share, 4),
            "pictures": [
                {**self.describe(item), "place": place}
                for item, place in zip(shown_pictures.tolist(), pictures, strict=True)
            ],
            "captions": [
                {"caption": self.captions[row], "place": place}
                for row, place in zip(shown_captions.tolist(), captions, strict=True)
            ],
        }

    def _captions_of(self, vectors: NDArray[Any], n_hits: int) -> dict[str, Any]:
        n_hits = min(n_hits, len(self.captions))
        scores, rows = self._caption_gallery.search(vectors, n_hits)
        places = self.map.place(self._caption_gallery.vectors[rows[0]])
        hits = []
        for row, score, place in zip(rows[0].tolist(), scores[0], places, strict=True):
            described = self.describe(int(self._item_of_caption[row]))
            hits.append(
                {
                    **described,
                    "caption": self.captions[row],
                    "score": round(float(score), 4),
                    "place": place,
                }
            )
        return {
            "place": self.map.place(vectors)[0],
            "n_possible": len(self.captions),
            "hits": hits,
        }

    def _in_space(self, shared: NDArray[Any]) -> NDArray[Any]:
        """Unit vectors in the coordinates that the gallery is kept in."""
        return in_subspace(unit_rows(np.asarray(shared)), self.retriever.subspace_)


def _names_below_common_folder(pictures: Sequence[Path]) -> list[str]:
    """Names that tell pictures apart, and not where on this machine they lie."""
    common = os.path.commonpath([path.parent for path in pictures])
    return [_well_formed(path.relative_to(common).as_posix()) for path in pictures]


def _well_formed(text: str) -> str:
    """Text that JSON can carry: names of files may hold lone surrogates."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _encoder_name(encoder: Any) -> str:
    model = getattr(encoder, "model", None)
    name = Path(model).name if isinstance(model, str) else type(encoder).__name__
    return _well_formed(name)
