"""Cuts a network into parts that torch-pruning can follow.

It follows a channel through convolutions, sums and concatenations, and through a flatten before
a linear layer; where a reshape mixes channels (ShuffleNet's shuffle, an attention's heads) it
gives up, or is wrong. So such a reshape is hidden from it: what enters and what leaves stays as
it is, and with it the layers that make it. All layers between are pruned as ever.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from edgepipe_stages._pruning.functions import functions
from edgepipe_stages._pruning.layers import LAYERS

CUTS = ("what reorders channels", "reshapes", "flattens", "concatenations")
"""What to cut at, each with those before it: every cut keeps more layers as they are."""


_REORDERING = functions(
    "channel_shuffle flip gather index_select native_channel_shuffle pixel_shuffle pixel_unshuffle"
    " roll take_along_dim"
)
"""torch-pruning takes them for functions of each element, and would pair the wrong channels."""

_RESHAPES = functions(
    "flatten moveaxis movedim permute repeat repeat_interleave reshape reshape_as squeeze swapaxes"
    " swapdims t transpose unflatten unfold unsqueeze view view_as"
)

_JOINS = functions("cat concat concatenate stack")


class Cuts(TorchFunctionMode):
    """Runs a network and remembers what is cut, and the layers on its edges.

    Use: ``outputs = Cuts(module, level).run(image)``; then `kept`.
    """

    def __init__(self, module: nn.Module, level: int) -> None:
        """Say where to cut: ``level`` is an index of `CUTS`."""
        super().__init__()
        self.module = module
        self.level = level
        self.kept: list[nn.Module] = []
        """The layers whose outputs have to stay."""
        self._entering: list[Tensor] = []
        self._fixed: list[Tensor] = []
        self._made_by: dict[Any, nn.Module] = {}

    def run(self, image: Tensor) -> list[Tensor]:
        """All that has to be traced back: the scores, and what enters each cut."""
        self._fixed.append(image.requires_grad_())
        consumed: list[tuple[nn.Module, Tensor]] = []

        def note(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            consumed.append((layer, inputs[0]))
            self._made_by[output.grad_fn] = layer

        layers = [part for part in self.module.modules() if isinstance(part, LAYERS)]
        hooks = [layer.register_forward_hook(note) for layer in layers]
        try:
            with self:
                scores = self.module(image)
        finally:
            for hook in hooks:
                hook.remove()
        for tensor in self._entering:
            self.kept += self._sources(tensor)[0]
        for layer, tensor in consumed:
            sources, fixed = self._sources(tensor)
            # A sum with something that stays has to stay; so has a convolution of each of its
            # channels.
            if fixed and (self.level or self._entering):
                self.kept += [*sources, *([layer] if getattr(layer, "groups", 1) > 1 else [])]
        self.kept = list(dict.fromkeys(self.kept))
        return [scores, *(tensor for tensor in self._entering if tensor.grad_fn is not None)]

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        source = args[0] if args else None
        if not isinstance(result, Tensor):
            return result
        if func in _JOINS and self.level >= CUTS.index("concatenations"):
            self._entering += source or (kwargs or {})["tensors"]
        elif isinstance(source, Tensor) and (
            func in _REORDERING or (func in _RESHAPES and not self._followed(source, result))
        ):
            self._entering.append(source)
        else:
            return result
        self._fixed.append(result.detach().requires_grad_())
        # Not the leaf itself: autograd refuses what works in place on one.
        return self._fixed[-1] * 1

    def _followed(self, source: Tensor, result: Tensor) -> bool:
        """Whether torch-pruning keeps track of the channels."""
        if not self.level or not source.requires_grad:
            return True
        if source.shape[:2] == result.shape[:2]:
            # Each channel stays where it is.
            return source.ndim <= 2 or result[0, 0].numel() == source[0, 0].numel()
        flat = result.ndim == 2 and len(result) == len(source)
        return flat and self.level < CUTS.index("flattens")

    def _sources(self, tensor: Tensor) -> tuple[list[nn.Module], bool]:
        """The nearest layers that a tensor is made by, and whether it is made of what stays too."""
        found: dict[nn.Module, None] = {}
        fixed = any(tensor is each for each in self._fixed)
        seen: set[Any] = set()
        waiting = [tensor.grad_fn]
        while waiting:
            node = waiting.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            if node in self._made_by:
                found[self._made_by[node]] = None
                continue
            variable = getattr(node, "variable", None)
            fixed = fixed or any(variable is each for each in self._fixed)
            waiting += [following for following, _ in node.next_functions]
        return list(found), fixed
