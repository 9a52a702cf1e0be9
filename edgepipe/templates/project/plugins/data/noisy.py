"""data.noisy: a stage of your own. Its kind is its place: plugins/data/noisy.py."""

from __future__ import annotations

from dataclasses import replace

from edgepipe.stage import Context, Field, Stage
from edgepipe_stages import Dataset, ImageDataset


class Noisy(Stage):
    """Add a sensor's noise to the training images, so that the network learns to live with it."""

    inputs = {"data": ImageDataset}
    outputs = {"data": ImageDataset}
    requires = ("numpy",)

    sigma: float = Field(8.0, ge=0, le=128, description="standard deviation, in shades of 255")

    def run(self, ctx: Context) -> None:
        import numpy as np

        data: Dataset = ctx.input("data")
        rng = np.random.default_rng(ctx.seed)
        images = data.train.images + rng.normal(0, self.sigma, data.train.images.shape)
        noisy = replace(data.train, images=images.clip(0, 255).round().astype(np.uint8))
        ctx.save("data", replace(data, train=noisy))
