"""data.digits: scikit-learn's handwritten digits, scaled to the size a network takes."""

from __future__ import annotations

from typing import Literal

from edgepipe.stage import Context, Field, Stage
from edgepipe_stages import ImageDataset, Split
from edgepipe_stages._images import NORMALIZE, Normalize, dataset, stratified_split


class Digits(Stage):
    """1797 handwritten digits that come with scikit-learn (Alpaydin and Kaynak, 1998).

    They are 8 × 8 pixels with 17 shades, scaled up bilinearly.
    """

    outputs = {"data": ImageDataset}
    requires = ("scikit-learn", "pillow", "numpy")

    image_size: int = Field(32, ge=8, le=128, description="height and width, in pixels")
    channels: Literal[1, 3] = Field(1, description="1: gray; 3: the same in red, green and blue")
    test_fraction: float = Field(0.2, ge=0.05, le=0.9, description="of each class, for testing")
    normalize: Normalize = Field("dataset", description=NORMALIZE)

    def run(self, ctx: Context) -> None:
        import numpy as np
        from PIL import Image
        from sklearn.datasets import load_digits

        digits = load_digits()
        size = (self.image_size, self.image_size)
        images = np.empty((len(digits.images), *size, self.channels), np.uint8)
        for i, shades in enumerate(digits.images):
            scaled = Image.fromarray((shades * (255 / 16)).astype(np.float32))
            resized = np.asarray(scaled.resize(size, Image.Resampling.BILINEAR))
            images[i] = np.rint(resized).clip(0, 255).astype(np.uint8)[..., None]
        labels = digits.target.astype(np.int64)
        classes = tuple(str(digit) for digit in range(10))
        train, test = (
            Split(images[part], labels[part])
            for part in stratified_split(labels, self.test_fraction, ctx.seed, classes)
        )
        ctx.log(f"{len(train)} images to train, {len(test)} to test")
        ctx.save("data", dataset(train, test, classes, self.normalize))
