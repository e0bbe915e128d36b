"""Items on their way through a network that is tuned.

Imported only where a network is tuned, since it imports torch.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skxmodal._pictures import open_picture
from skxmodal._torchvision import import_torchvision
from skxmodal.encoders._contrastive_layers import frozen_start
from skxmodal.encoders._examples import noise

# Kept states above this many bytes go to a temporary file.
LARGEST_IN_MEMORY = 2**30
# How far a network that goes on from kept states may be from one that ran whole.
TOLERANCE = 1e-4
# Items that run through the network at once where nothing is learned.
BLOCK = 64


class TextItems:
    """Texts, tokenised once.

    Parameters
    ----------
    model : TextModel
    items : list of str

    Attributes
    ----------
    cut : list of int
        Rows of the texts that are longer than the network reads.
    """

    def __init__(self, model: Any, items: list[str]) -> None:
        self.model = model
        self.ids, self.cut = model.tokenise(items)

    def __len__(self) -> int:
        return len(self.ids)

    def batches(
        self, rows: Sequence[int], augmented: bool
    ) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
        """Places among the rows, and the network's inputs for them."""
        arrays = self.model.collate([self.ids[row] for row in rows])
        tensors = {
            name: torch.from_numpy(values).to(self.model.device)
            for name, values in arrays.items()
        }
        yield list(range(len(rows))), tensors

    def n_kept(self, row: int, state: Tensor) -> int:
        """How much of a text's state, which padding lengthens, is its own."""
        return len(self.ids[row]) if self.model.network.masked else state.shape[0]


class PictureItems:
    """Pictures, opened, augmented and prepared when they are wanted.

    Parameters
    ----------
    model : ImageModel
    items : list of pictures
    """

    cut: ClassVar[list[int]] = []

    def __init__(self, model: Any, items: list[Any]) -> None:
        self.model = model
        self.items = items
        self._augment: Any = None

    def __len__(self) -> int:
        return len(self.items)

    def batches(
        self, rows: Sequence[int], augmented: bool
    ) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
        """Places among the rows, and the network's inputs for them."""
        groups: dict[tuple[int, ...], list[tuple[int, NDArray[np.float32]]]] = {}
        for place, row in enumerate(rows):
            picture = open_picture(self.items[row], row=row)
            if augmented:
                picture = self.augment(picture)
            values = self.model.prepare(picture)
            groups.setdefault(values.shape, []).append((place, values))
        for members in groups.values():
            pixels = torch.from_numpy(np.stack([values for _, values in members]))
            places = [place for place, _ in members]
            yield places, {"pixel_values": pixels.to(self.model.device)}

    def n_kept(self, row: int, state: Tensor) -> int:
        """All of a picture's state is its own."""
        return state.shape[0]

    def augment(self, picture: Any) -> Any:
        """A random view of a picture, as SimCLR has it, of the network's size."""
        if self._augment is None:
            import_torchvision(purpose="Augmenting pictures")
            from torchvision.transforms import v2

            size = self.model.prepare(noise()).shape[1:]
            self._augment = v2.Compose(
                [
                    v2.RandomResizedCrop(size, scale=(0.2, 1.0), antialias=True),
                    v2.RandomHorizontalFlip(),
                    v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
                    v2.RandomGrayscale(p=0.2),
                    v2.RandomApply([v2.GaussianBlur(5, sigma=(0.1, 2.0))], p=0.5),
                ]
            )
        return self._augment(picture)


class Encoding:
    """Vectors of items by a network that is being tuned.

    Parameters
    ----------
    model : TextModel or ImageModel
    items : TextItems or PictureItems
    layers : Layers
    n_frozen : int
        Number of frozen blocks at the start, whose output is kept.
    augmented : bool
        Whether each call sees another view of a picture; nothing is kept then.
    normalize : bool
        Whether vectors are scaled to unit length.

    Attributes
    ----------
    n_reused : int
        Number of frozen blocks whose output is kept; 0 where nothing is.
    """

    def __init__(
        self,
        model: Any,
        items: TextItems | PictureItems,
        layers: Any,
        n_frozen: int,
        *,
        augmented: bool,
        normalize: bool,
    ) -> None:
        self.model = model
        self.items = items
        self.augmented = augmented
        self.normalize = normalize
        self.n_reused = 0
        self._start: Any = None
        self._values: Any = None
        self._folder: Any = None
        self._stand_in: Any = None
        if n_frozen and not augmented:
            self._keep(frozen_start(model.network, layers, n_frozen))
            if self._start is not None:
                self.n_reused = n_frozen

    def __call__(self, rows: Sequence[int]) -> Tensor:
        """Vectors of the items at these rows, with their gradients."""
        outputs, order = [], []
        for places, tensors in self._batches(rows):
            if self._start is None:
                output = self.model.network(**tensors)
            else:
                states = self._states([rows[place] for place in places])
                with self._start.replaced(states):
                    output = self.model.network(**tensors)
            outputs.append(output.float())
            order += places
        vectors = torch.cat(outputs)[np.argsort(order)]
        if self.normalize:
            vectors = torch.nn.functional.normalize(vectors, dim=1)
        return vectors

    def close(self) -> None:
        """Delete the temporary file, if there is one."""
        self._values = None
        if self._folder is not None:
            self._folder.cleanup()

    @torch.no_grad()
    def all(self) -> Tensor:
        """Vectors of all items, nothing random, in evaluation mode."""
        training = [
            module for module in self.model.network.modules() if module.training
        ]
        self.model.network.eval()
        blocks = [
            self(range(start, min(start + BLOCK, len(self.items))))
            for start in range(0, len(self.items), BLOCK)
        ]
        for module in training:
            module.training = True
        return torch.cat(blocks)

    def _batches(self, rows: Sequence[int]) -> Any:
        if self._start is None or isinstance(self.items, TextItems):
            return self.items.batches(rows, self.augmented)
        # The frozen start is not run, so one picture stands for all of the batch.
        if self._stand_in is None:
            self._stand_in = next(iter(self.items.batches([0], False)))[1]
        return [(list(range(len(rows))), self._stand_in)]

    def _keep(self, start: Any) -> None:
        """Run the frozen start for every item and keep what it gives."""
        network = self.model.network
        for first in range(0, len(self.items), BLOCK):
            rows = range(first, min(first + BLOCK, len(self.items)))
            for places, tensors in self.items.batches(rows, False):
                try:
                    states, output = start.record(
                        lambda given=tensors: network(**given)
                    )
                except (AttributeError, IndexError, TypeError):
                    # Blocks that give something else than a tensor, or a tuple of it.
                    return
                if self._values is None:
                    if not self._goes_on(start, tensors, states, output):
                        return
                    self._open(states)
                kept = [
                    state[: self.items.n_kept(rows[place], state)]
                    for place, state in zip(places, states, strict=True)
                ]
                # Some processors keep a picture's proportions.
                if any(own.shape[1:] != self._values.shape[2:] for own in kept) or (
                    isinstance(self.items, PictureItems)
                    and states.shape[1] != self._values.shape[1]
                ):
                    return
                for place, own in zip(places, kept, strict=True):
                    self._values[rows[place], : len(own)] = own.cpu().numpy()
        self._start = start

    def _open(self, states: Tensor) -> None:
        """Make room for the states of all items."""
        per_row = states.shape[1]
        if isinstance(self.items, TextItems):
            per_row = max(map(len, self.items.ids))
            if not self.model.network.masked:
                per_row = states.shape[1]
        shape = (len(self.items), per_row, *states.shape[2:])
        if 4 * int(np.prod(shape)) <= LARGEST_IN_MEMORY:
            self._values = np.zeros(shape, dtype=np.float32)
            return
        self._folder = tempfile.TemporaryDirectory(prefix="skxmodal-")
        file = Path(self._folder.name) / "states"
        self._values = np.memmap(file, dtype=np.float32, mode="w+", shape=shape)

    def _states(self, rows: list[int]) -> Tensor:
        longest = self._values.shape[1]
        if isinstance(self.items, TextItems) and self.model.network.masked:
            longest = max(len(self.items.ids[row]) for row in rows)
        return torch.from_numpy(self._values[rows, :longest]).to(self.model.device)

    def _goes_on(
        self, start: Any, tensors: dict[str, Tensor], states: Tensor, output: Tensor
    ) -> bool:
        """Whether the network gives the same when it goes on from the states.

        A network whose later blocks read more than the block before them does not, and
        is then run whole.
        """
        if not torch.is_tensor(states) or states.ndim < 2:
            return False
        if isinstance(self.items, PictureItems):
            tensors = {name: values[:1] for name, values in tensors.items()}
        try:
            with start.replaced(states), torch.no_grad():
                again = self.model.network(**tensors)
        except (AttributeError, IndexError, RuntimeError, TypeError, ValueError):
            return False
        error = float((again - output).abs().max())
        return error <= TOLERANCE * float(output.abs().max())
