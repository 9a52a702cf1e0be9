"""Labelled images in memory, as a network takes them batch by batch."""

from __future__ import annotations

import torch
from torch import Tensor

from edgepipe.stage import StageError
from edgepipe_stages import Interface, Split
from edgepipe_stages._calibration import stratified
from edgepipe_stages._training.layout import arranged


class Images:
    """One uint8 tensor, N × H × W × C, and labels: a batch is normalized when it is taken."""

    def __init__(
        self,
        pixels: Tensor,
        labels: Tensor,
        interface: Interface,
        layout: torch.memory_format = torch.channels_last,
    ) -> None:
        self.pixels = pixels
        self.labels = labels
        self.interface = interface
        self.layout = layout
        # A value for each number of a row lets the processor work on a row at once.
        self.mean = torch.tensor(interface.mean).repeat(interface.width)
        self.std = torch.tensor(interface.std).repeat(interface.width)

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def of(
        cls,
        split: Split,
        interface: Interface,
        layout: torch.memory_format = torch.channels_last,
    ) -> Images:
        """A split, for a model's interface, in the layout that it runs with.

        Raises:
            StageError: its images have another size than the model takes.
        """
        interface.normalize(split.images[:1])
        pixels = torch.from_numpy(split.images)
        return cls(pixels, torch.from_numpy(split.labels), interface, layout)

    def normalized(self, pixels: Tensor) -> Tensor:
        """The arithmetic of `Interface.normalize`: float32, N × C × H × W."""
        rows = pixels.flatten(2).to(torch.float32).div_(255.0).sub_(self.mean).div_(self.std)
        return arranged(rows.view(pixels.shape).permute(0, 3, 1, 2), self.layout)

    def split(self, fraction: float, seed: int) -> tuple[Images, Images]:
        """Two parts: the second has ``fraction`` of the images, of each class by its share.

        Raises:
            StageError: too few images for two parts.
        """
        count = round(fraction * len(self))
        if fraction and not 0 < count < len(self) - 1:
            raise StageError(
                f"{len(self)} training images are too few to keep {fraction:g} of them apart",
                "give more images, or set validation_fraction: 0",
            )
        chosen = torch.zeros(len(self), dtype=torch.bool)
        if count:
            chosen[torch.from_numpy(stratified(self.labels.numpy(), count, seed))] = True
        return self._part(~chosen), self._part(chosen)

    def sample(self, count: int, seed: int) -> Images:
        """At most ``count`` of them, of each class by its share."""
        chosen = torch.from_numpy(stratified(self.labels.numpy(), count, seed))
        return self._part(chosen)

    def _part(self, chosen: Tensor) -> Images:
        return Images(self.pixels[chosen], self.labels[chosen], self.interface, self.layout)
