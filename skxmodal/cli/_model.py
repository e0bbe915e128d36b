"""Retrievers as the commands make, save and load them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skxmodal._encoding import item_keys
from skxmodal.cli._console import Progress, Stopped
from skxmodal.cli._data import load_pairs

if TYPE_CHECKING:
    from skxmodal.neighbors._gallery import Gallery

METADATA_VERSION = 1


class SearchModel(NamedTuple):
    """A fitted retriever with what the fit knew of its pictures.

    Attributes
    ----------
    retriever : CrossModalRetriever
        Its gallery holds the pictures of the fit.
    pictures : list of pathlib.Path
        Path of each gallery item; none where the retriever was fitted to pictures
        that are no files.
    captions : list of str
        The captions of the fit.
    item_of_caption : ndarray of int64
        Gallery item that each caption belongs to.
    """

    retriever: Any
    pictures: list[Path]
    captions: list[str]
    item_of_caption: NDArray[np.int64]

    def captions_of(self, item: int) -> list[str]:
        """Captions of a gallery item."""
        return [self.captions[i] for i in np.flatnonzero(self.item_of_caption == item)]

    def caption_gallery(self) -> Gallery:
        """Index over the captions, in the space that they share with the pictures.

        Where the gallery was replaced after the fit, as by the demo, its captions
        are not those that the retriever has an index over.
        """
        from skxmodal.neighbors._gallery import Gallery

        fitted = self.retriever
        keys = item_keys(fitted.query_encoder_, self.captions, None)
        if keys == fitted._query_gallery.keys:
            return fitted._query_gallery
        return Gallery(
            fitted._query_vectors(fitted._encode_queries(self.captions)),
            ids=np.arange(len(keys)),
            keys=keys,
            hubness=fitted.hubness_,
            bank=fitted._gallery.vectors,
        )

    def captions_near(
        self, pictures: list[Path], n_hits: int
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Scores and rows of the captions nearest to each picture."""
        fitted = self.retriever
        vectors = fitted._target_vectors(fitted._encode_targets(pictures))
        return self.caption_gallery().search(vectors, n_hits)

    def save(self, path: Path) -> None:
        """Save as a folder with a manifest and safetensors."""
        from skxmodal import persistence

        persistence.save(
            self.retriever,
            path,
            metadata={
                "command": "skxmodal fit",
                "command_version": METADATA_VERSION,
                "pictures": self.pictures,
                "captions": self.captions,
                "item_of_caption": self.item_of_caption,
            },
        )

    @classmethod
    def load(
        cls, path: Path, progress: Progress, captions: Path | None = None
    ) -> SearchModel:
        """Load what :meth:`save` saved, or a retriever that was saved in Python.

        The latter knows its pictures by `gallery_items_` and has no captions.

        Parameters
        ----------
        path : pathlib.Path
            The model.
        progress : Progress
            What is told that it is being loaded.
        captions : pathlib.Path, default=None
            Captioned pictures, in place of what the model says of its own.

        Raises
        ------
        Stopped
            If nothing that encodes words and pictures was saved.
        """
        from skxmodal import persistence

        with progress.busy("Loading the model"):
            retriever, metadata = persistence.load(path, return_metadata=True)
        _check_searchable(retriever, path)
        set_encoders(retriever, show_progress=progress.bars)
        if metadata.get("command") == "skxmodal fit":
            version = metadata.get("command_version")
            if isinstance(version, int) and version > METADATA_VERSION:
                raise Stopped(f"{path} was saved by a newer skxmodal. Upgrade it.")
            fields = ("pictures", "captions", "item_of_caption")
            model = cls(retriever, *(metadata.get(field) for field in fields))
            if version != METADATA_VERSION or not _is_consistent(model):
                raise Stopped(
                    f"{path}: the captions and paths that were saved with the model do "
                    "not fit it. Fit it again with 'skxmodal fit'."
                )
        else:
            pictures = [Path(item) for item in retriever.gallery_items_ or ()]
            model = cls(retriever, pictures, [], np.empty(0, dtype=np.int64))
        return model if captions is None else model.captioned(captions, progress)

    def captioned(self, captions: Path, progress: Progress) -> SearchModel:
        """Take captions, and places of pictures, from captioned pictures.

        Pictures are those of the gallery by their content, wherever they lie now.

        Raises
        ------
        Stopped
            If none of them is in the gallery, or a picture has no path then.
        """
        data = load_pairs(captions)
        encoder = self.retriever.target_encoder_
        files = sorted({path.absolute() for path in data.images})
        item_of_key = {key: i for i, key in enumerate(self.retriever._gallery.keys)}
        keys = item_keys(encoder, files, None)
        item_of_file = {
            path: item_of_key[key]
            for path, key in zip(files, keys, strict=True)
            if key in item_of_key
        }
        if not item_of_file:
            raise Stopped(
                f"None of the {len(files)} pictures of {captions} is one of the "
                f"{len(item_of_key)} of the model."
            )
        if len(item_of_file) < len(files):
            progress.note(
                f"{len(files) - len(item_of_file)} of the {len(files)} pictures "
                f"of {captions} are not in the model; their captions are left out."
            )
        items = [item_of_file.get(path.absolute()) for path in data.images]
        path_of_item = dict(enumerate(self.pictures))
        path_of_item.update({item: path for path, item in item_of_file.items()})
        if len(path_of_item) < len(item_of_key):
            raise Stopped(
                f"{len(item_of_key) - len(path_of_item)} of the {len(item_of_key)} "
                f"pictures of the model are not in {captions}, and the model does not "
                "know their paths."
            )
        return self._replace(
            pictures=[path_of_item[item] for item in range(len(item_of_key))],
            captions=[
                caption
                for caption, item in zip(data.captions, items, strict=True)
                if item is not None
            ],
            item_of_caption=np.array(
                [item for item in items if item is not None], dtype=np.int64
            ),
        )

    def require_pictures(self, path: Path) -> None:
        """Stop where the model knows no paths, and say how to give them."""
        if not self.pictures:
            raise Stopped(
                f"{path} was fitted to pictures that are no files, and knows no paths. "
                "Say where they are: --captions PATH, in any layout that 'skxmodal "
                "fit' takes."
            )

    def require_captions(self, path: Path) -> None:
        """Stop where there are no captions, and say how to give them."""
        if not self.captions:
            raise Stopped(
                f"{path} was saved in Python, without captions. Say where they are: "
                "--captions PATH, in any layout that 'skxmodal fit' takes."
            )


def _is_consistent(model: SearchModel) -> bool:
    """Whether what was saved beside the retriever belongs to it."""
    pictures, captions, items = model[1:]
    n_items = model.retriever._gallery.n_items
    return (
        isinstance(pictures, list)
        and isinstance(captions, list)
        and isinstance(items, np.ndarray)
        and len(pictures) == n_items
        and all(isinstance(picture, Path) for picture in pictures)
        and all(isinstance(caption, str) for caption in captions)
        and items.shape == (len(captions),)
        and items.dtype.kind == "i"
        and bool(((items >= 0) & (items < n_items)).all())
    )


def _check_searchable(retriever: Any, path: Path) -> None:
    from skxmodal import CrossModalRetriever

    if not isinstance(retriever, CrossModalRetriever):
        raise Stopped(
            f"{path} holds a {type(retriever).__name__}; only a CrossModalRetriever "
            "can be searched."
        )
    if retriever.query_encoder_ is None or retriever.target_encoder_ is None:
        raise Stopped(
            f"{path} was fitted to embeddings: it can't encode words and pictures. "
            "Fit CrossModalRetriever with query_encoder and target_encoder, or search "
            "it in Python."
        )


def set_encoders(retriever: Any, **settings: Any) -> None:
    """Set parameters of both encoders, and of those that they are made of."""
    for encoder in (retriever.query_encoder_, retriever.target_encoder_):
        names = encoder.get_params()
        encoder.set_params(
            **{
                name: settings[name.rpartition("__")[2]]
                for name in names
                if name.rpartition("__")[2] in settings
            }
        )


def make_retriever(
    mapper: Any, text_encoder: str, image_encoder: str, progress: Progress
) -> Any:
    """Retriever over raw captions and pictures, not fitted yet."""
    from skxmodal import CrossModalRetriever
    from skxmodal.encoders import ImageEncoder, TextEncoder

    return CrossModalRetriever(
        mapper,
        query_encoder=TextEncoder(text_encoder, show_progress=progress.bars),
        target_encoder=ImageEncoder(image_encoder, show_progress=progress.bars),
    )
