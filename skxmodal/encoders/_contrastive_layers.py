"""Which layers of an encoder's network are tuned, and what of the rest is kept.

Imported only where a network is tuned, since it imports torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from skxmodal._optional import import_optional

# A name up to its first component that ends in a number: one block of a traced network.
_NUMBERED = re.compile(r"^((?:[^.]*[^.\d]\.)*[^.]*\d)(?:\.|$)")
# Names of the weights of low-rank adapters.
_LOW_RANK = re.compile(r"\.lora_(embedding_)?[AB]\.default(\.weight)?$")
ADAPTER_RANK = 8


@dataclass(frozen=True)
class Layers:
    """The parts of a network in the order in which they run.

    Attributes
    ----------
    blocks : list of list of str
        Names of the modules with weights in each block.
    containers : list of torch.nn.Module or None
        The modules that are the blocks, where the network has such.
    head : list of str
        Names of the modules with weights after the last block.
    all : list of str
        Names of all modules whose weights have a say in the output.
    """

    blocks: list[list[str]]
    containers: list[nn.Module] | None
    head: list[str]
    all: list[str]


def find_layers(
    network: nn.Module, run: Callable[[], Tensor], trainable: Any
) -> Layers:
    """Find a network's blocks by running it once.

    Parameters
    ----------
    network : torch.nn.Module
    run : callable
        Runs the network on any input and gives its vectors.
    trainable : str or peft.LoraConfig
        "all" needs no blocks.

    Returns
    -------
    layers : Layers

    Raises
    ------
    ValueError
        If the network has no blocks.
    """
    order = _executed(network, run)
    if trainable == "all":
        return Layers([], [], [], order)
    extractor = getattr(network, "extractor", None)
    if isinstance(extractor, torch.fx.GraphModule):
        return _traced_layers(order)
    name, container = _largest_container(network)
    children = list(container.children())
    blocks = []
    for number in range(len(children)):
        own = f"{name}.{number}."
        blocks.append([each for each in order if (each + ".").startswith(own)])
    last = max((order.index(each) for each in blocks[-1]), default=-1)
    return Layers(blocks, children, order[last + 1 :], order)


def choose(network: nn.Module, layers: Layers, trainable: Any) -> int:
    """Let the chosen weights be trained, and no others.

    Parameters
    ----------
    network : torch.nn.Module
        Its weights' `requires_grad` are set; adapters are put into it.
    layers : Layers
    trainable : {"all", "head", "adapters"}, "last:N" or peft.LoraConfig

    Returns
    -------
    n_frozen : int
        Number of blocks before the first trained weight; 0 where even what comes
        before the blocks is trained.

    Raises
    ------
    ValueError
        If the network has no such layers.
    """
    network.requires_grad_(False)
    n_blocks = len(layers.blocks)
    if trainable == "all":
        chosen, n_frozen = layers.all, 0
    elif trainable == "head":
        if not layers.head:
            raise ValueError(
                "trainable='head' trains what comes after the last block, and this "
                "network has nothing there. Pass 'last:1' to train its last block."
            )
        chosen, n_frozen = layers.head, n_blocks
    elif isinstance(trainable, str) and trainable.startswith("last:"):
        n_last = int(trainable.removeprefix("last:"))
        if n_last > n_blocks:
            raise ValueError(
                f"trainable={trainable!r}, but the network has {n_blocks} blocks. Pass "
                f"at most 'last:{n_blocks}', or 'all'."
            )
        n_frozen = n_blocks - n_last
        chosen = [each for block in layers.blocks[n_frozen:] for each in block]
        chosen = chosen + layers.head
    else:
        _add_adapters(network, layers, trainable)
        return _first_trained(network, layers)
    for name in chosen:
        for weight in network.get_submodule(name).parameters(recurse=False):
            weight.requires_grad_(True)
    return n_frozen


def _first_trained(network: nn.Module, layers: Layers) -> int:
    """Number of blocks before the first one that is trained."""

    def trained(names: Iterable[str]) -> bool:
        return any(
            weight.requires_grad
            for name in names
            for weight in network.get_submodule(name).parameters()
        )

    later = {name for block in layers.blocks for name in block} | set(layers.head)
    if trained(name for name in layers.all if name not in later):
        return 0
    n_blocks = len(layers.blocks)
    return next((i for i in range(n_blocks) if trained(layers.blocks[i])), n_blocks)


def training_mode(network: nn.Module) -> None:
    """Switch on what is random in training, in the trained modules alone.

    A frozen module gives in training what it gives in use. Batch normalisation keeps
    its statistics: those of small batches would be worse.
    """
    network.eval()
    for module in network.modules():
        trained = any(weight.requires_grad for weight in module.parameters())
        if trained and not isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.training = True
    for module in network.modules():
        # Dropout has no weights: it does as the module around it.
        if module.training:
            for child in module.children():
                if not any(True for _ in child.parameters()):
                    child.train()


def trained_weights(network: nn.Module) -> dict[str, Tensor]:
    """The trained weights by their names in the network as it was loaded.

    Adapters are merged into the weights they adapt.
    """
    adapted = _adapted(network)
    if adapted:
        with torch.no_grad():
            return {
                f"{name}.weight": module.base_layer.weight
                + module.get_delta_weight("default")
                for name, module in adapted
            }
    return {
        name: weight.detach()
        for name, weight in network.named_parameters()
        if weight.requires_grad
    }


def frozen_start(network: nn.Module, layers: Layers, n_frozen: int) -> Any:
    """What keeps the output of the frozen blocks; None where there are none.

    Parameters
    ----------
    network : torch.nn.Module
    layers : Layers
    n_frozen : int
        How many blocks are frozen.

    Returns
    -------
    start : FrozenBlocks, FrozenGraph or None
    """
    if not n_frozen:
        return None
    if layers.containers is not None:
        return FrozenBlocks(layers.containers[:n_frozen])
    later = {name for block in layers.blocks[n_frozen:] for name in block}
    return FrozenGraph(network, later | set(layers.head))


class FrozenBlocks:
    """Frozen blocks at the start of a network, run once for each item.

    Parameters
    ----------
    blocks : list of torch.nn.Module
    """

    def __init__(self, blocks: list[nn.Module]) -> None:
        self.blocks = blocks
        self._wraps: list[Callable[[Tensor], Any]] = []

    def record(self, run: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
        """What the last frozen block gives in a run, and what the network gives."""
        seen: list[Any] = [None] * len(self.blocks)

        def note(number: int) -> Callable[..., None]:
            def hook(module: nn.Module, given: Any, output: Any) -> None:
                seen[number] = output

            return hook

        hooks = [
            block.register_forward_hook(note(number))
            for number, block in enumerate(self.blocks)
        ]
        try:
            with torch.no_grad():
                output = run()
        finally:
            for each in hooks:
                each.remove()
        self._wraps = [_wrapper(each) for each in seen]
        return (seen[-1] if torch.is_tensor(seen[-1]) else seen[-1][0]), output

    @contextmanager
    def replaced(self, state: Tensor) -> Iterator[None]:
        """Within the block the frozen blocks do nothing, and the last gives `state`."""
        forwards = [block.forward for block in self.blocks]
        try:
            for block, wrap in zip(self.blocks, self._wraps, strict=True):
                last = block is self.blocks[-1]
                block.forward = _stand_in(state if last else None, wrap)
            yield
        finally:
            for block, forward in zip(self.blocks, forwards, strict=True):
                block.forward = forward


class FrozenGraph:
    """The frozen start of a traced network, run once for each item.

    Parameters
    ----------
    network : torch.nn.Module
        Has the traced network as its `extractor`.
    later : set of str
        Names of the modules in `network` after the start.
    """

    def __init__(self, network: nn.Module, later: set[str]) -> None:
        self._whole: Any = network.get_submodule("extractor")
        nodes = list(self._whole.graph.nodes)
        first = next(
            number
            for number, node in enumerate(nodes)
            if node.op == "call_module" and f"extractor.{node.target}" in later
        )
        # Inputs and constants are there in any case.
        self._start = [
            node for node in nodes[:first] if node.op not in ("placeholder", "get_attr")
        ]
        rest = set(nodes[first:])
        self._read = [node for node in self._start if rest & set(node.users)]

    def record(self, run: Callable[[], Tensor]) -> tuple[Any, Tensor]:
        """What the frozen start gives in a run, and what the network gives."""
        seen: list[Any] = []

        def whole(*given: Tensor) -> Any:
            interpreter = torch.fx.Interpreter(
                self._whole, garbage_collect_values=False
            )
            output = interpreter.run(*given)
            seen.extend(interpreter.env[node] for node in self._read)
            return output

        with self._as_extractor(whole), torch.no_grad():
            output = run()
        return (seen[0] if len(seen) == 1 else None), output

    @contextmanager
    def replaced(self, state: Tensor) -> Iterator[None]:
        """Within the block the network goes on from `state`, whatever it is given."""
        known = dict.fromkeys(self._start) | {self._read[0]: state}

        def rest(*given: Tensor) -> Any:
            return torch.fx.Interpreter(self._whole).run(*given, initial_env=known)

        with self._as_extractor(rest):
            yield

    @contextmanager
    def _as_extractor(self, forward: Callable[..., Any]) -> Iterator[None]:
        own = self._whole.forward
        self._whole.forward = forward
        try:
            yield
        finally:
            self._whole.forward = own


def _stand_in(state: Tensor | None, wrap: Callable[[Tensor], Any]) -> Any:
    def forward(*given: Any, **named: Any) -> Any:
        passed = given[0] if given else next(iter(named.values()))
        return wrap(passed if state is None else state)

    return forward


def _wrapper(output: Any) -> Callable[[Tensor], Any]:
    """From a tensor to what a block gives: itself, or first in a tuple."""
    if torch.is_tensor(output):
        return lambda tensor: tensor
    rest = tuple(output[1:])
    return lambda tensor: (tensor, *rest)


def _executed(network: nn.Module, run: Callable[[], Tensor]) -> list[str]:
    """Names of the modules whose own weights have a say in the output, as they run."""
    order: dict[str, None] = {}
    hooks = []
    for name, module in network.named_modules():
        if any(True for _ in module.parameters(recurse=False)):

            def note(module: nn.Module, given: Any, name: str = name) -> None:
                order.setdefault(name)

            hooks.append(module.register_forward_pre_hook(note))
    weights = dict(network.named_parameters())
    before = {name: weight.requires_grad for name, weight in weights.items()}
    network.requires_grad_(True)
    try:
        gradients = torch.autograd.grad(
            run().float().sum(), list(weights.values()), allow_unused=True
        )
    finally:
        for hook in hooks:
            hook.remove()
        for name, weight in weights.items():
            weight.requires_grad_(before[name])
    # BERT's pooler, for one, runs and is not read.
    read = {
        name.rpartition(".")[0]
        for name, gradient in zip(weights, gradients, strict=True)
        if gradient is not None
    }
    return [name for name in order if name in read]


def _traced_layers(order: list[str]) -> Layers:
    names: dict[str, list[str]] = {}
    for name in order:
        found = _NUMBERED.match(name.removeprefix("extractor."))
        if found:
            names.setdefault(found[1], []).append(name)
    blocks = list(names.values())
    last = max((order.index(each) for each in blocks[-1]), default=-1)
    return Layers(blocks, None, order[last + 1 :], order)


def _largest_container(network: nn.Module) -> tuple[str, nn.Module]:
    """The list of modules that holds the most weights: the network's blocks."""
    found = [
        (sum(weight.numel() for weight in module.parameters()), name, module)
        for name, module in network.named_modules()
        if isinstance(module, nn.ModuleList)
        or (isinstance(module, nn.Sequential) and len(module) > 1)
    ]
    weights, name, module = max(
        found, key=lambda each: (each[0], -len(each[1])), default=(0, "", network)
    )
    if not weights:
        raise ValueError(
            f"{type(network).__name__} has no list of blocks to choose from. Pass "
            "trainable='all'."
        )
    return name, module


def _add_adapters(network: nn.Module, layers: Layers, trainable: Any) -> None:
    peft = import_optional(
        "peft", extra="test", purpose="ContrastiveTuner(trainable='adapters')"
    )
    linear = [
        name
        for block in layers.blocks
        for name in block
        if isinstance(network.get_submodule(name), nn.Linear)
    ]
    if not linear:
        raise ValueError(
            "trainable='adapters' adapts the linear layers of the blocks, and this "
            "network has none there. Pass 'last:1' to train its last block."
        )
    config = trainable
    if trainable == "adapters":
        config = peft.LoraConfig(
            r=ADAPTER_RANK, lora_alpha=2 * ADAPTER_RANK, target_modules=linear
        )
    names = {name for name, _ in network.named_parameters()}
    peft.inject_adapter_in_model(config, network)
    _check_mergeable(network, names)


def _adapted(network: nn.Module) -> list[tuple[str, Any]]:
    """Names and modules of the layers that have adapters."""
    return [
        (name, module)
        for name, module in network.named_modules()
        if hasattr(module, "base_layer") and hasattr(module, "merge")
    ]


def _check_mergeable(network: nn.Module, names: set[str]) -> None:
    """Refuse adapters that are more than a low-rank matrix added to a weight."""
    adapted = _adapted(network)
    others = [
        name
        for name, weight in network.named_parameters()
        if weight.requires_grad and not _LOW_RANK.search(name)
    ]
    others += [
        f"{name} ({', '.join(module.lora_variant)})"
        for name, module in adapted
        if getattr(module, "lora_variant", None)
    ]
    others += [name for name, _ in adapted if f"{name}.weight" not in names]
    if others:
        raise ValueError(
            "ContrastiveTuner merges adapters into the weights that they adapt, and "
            f"this LoraConfig trains more than that: {', '.join(others[:3])}. Leave "
            "bias='none', modules_to_save=None, use_dora=False and the like as they "
            "are by default."
        )
