"""Image files in a folder or a zip: found without trusting their names, decoded to one size.

Nothing is ever unpacked to disk.
"""

from __future__ import annotations

import os
import stat
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

from edgepipe.stage import StageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

Resize = Literal["crop", "stretch", "pad"]
Read = Callable[[str], bytes]
"""The content of a file, by its path below the folder or in the zip."""

SUFFIXES = frozenset(
    ".bmp .gif .jpeg .jpg .jpe .pgm .png .pnm .ppm .tif .tiff .webp".split()  # noqa: SIM905
)
MAX_FILE = 256 * 2**20
"""An image file may have this many bytes, unpacked."""
MAX_PIXELS = 80_000_000
"""An image may have this many pixels: a small file can claim far more."""
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_CHUNK = 256


@contextmanager
def open_files(path: Path) -> Iterator[tuple[list[str], Read]]:
    """The paths of all files in a folder or zip, in order, and how to read one.

    Folders are among the paths, too, and end with a slash.

    Raises:
        StageError: it is neither, or it holds a name or a link that leads outside.
    """
    if path.is_dir():
        yield _list_folder(path), lambda name: _read_file(path / name)
        return
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise StageError(
            f"{path.name} is neither a folder nor a zip file: {error}",
            "give a folder of images, one folder a class, or a zip of it",
        ) from error
    with archive:
        entries = {info.filename: info for info in archive.infolist()}
        for info in archive.infolist():
            _check_entry(path.name, info)
        yield sorted(entries), lambda name: _read_entry(archive, entries[name])


def _list_folder(root: Path) -> list[str]:
    names = []
    for folder, folders, files in os.walk(root):
        for name in folders:
            if (Path(folder) / name).is_symlink():
                raise StageError(
                    f"{(Path(folder) / name).relative_to(root)} is a link to a folder",
                    "links to folders are not followed: put the folder itself there",
                )
        inside = Path(folder).relative_to(root)
        names += [(inside / name).as_posix() + "/" for name in folders]
        names += [(inside / name).as_posix() for name in files]
    return sorted(names)


def _read_file(path: Path) -> bytes:
    if path.stat().st_size > MAX_FILE:
        raise ValueError(f"it has more than {MAX_FILE} bytes")
    return path.read_bytes()


def _check_entry(archive: str, info: zipfile.ZipInfo) -> None:
    name = info.filename
    path = PurePosixPath(name)
    outside = path.is_absolute() or ".." in path.parts or "\\" in name or ":" in path.parts[0]
    if not name or outside:
        raise StageError(
            f"{archive} holds '{name}', a path that leads out of it",
            "do not use this file: zips of images have no such paths",
        )
    if stat.S_ISLNK(info.external_attr >> 16):
        raise StageError(f"{archive} holds a link, '{name}'", "zip the file that it points to")
    if info.flag_bits & 1:
        raise StageError(f"{archive} is encrypted", "zip it again without a password")


def _read_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    if info.file_size > MAX_FILE:
        raise ValueError(f"it unpacks to more than {MAX_FILE} bytes")
    return archive.read(info)


@dataclass(frozen=True)
class Decoder:
    """Decodes files to uint8 arrays, height × width × channels."""

    size: int
    """Height and width, in pixels."""
    channels: int
    resize: Resize

    def decode(self, content: bytes) -> NDArray[np.uint8]:
        """One image. Raises OSError, ValueError and the like where it is not valid."""
        import numpy as np
        from PIL import Image, ImageOps

        mode = "RGB" if self.channels == 3 else "L"
        with Image.open(BytesIO(content), formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(
                    f"it is {image.width} × {image.height} pixels, more than {MAX_PIXELS}"
                )
            if image.mode == "I" and image.format == "TIFF":
                raise ValueError(
                    "it has whole numbers with a sign or of more than 16 bits, and nothing says"
                    " which is white: save it with 8 or 16 bits"
                )
            # JPEG decodes at half or less of its size for little work.
            image.draft(mode, (2 * self.size, 2 * self.size))
            upright = ImageOps.exif_transpose(image)
            fitted = self._fit(_to_mode(upright, mode))
        return np.asarray(fitted, np.uint8).reshape(self.size, self.size, self.channels)

    def _fit(self, image: Image) -> Image:
        from PIL import Image, ImageOps

        size = (self.size, self.size)
        if image.size == size:
            return image
        bilinear = Image.Resampling.BILINEAR
        if self.resize == "crop":
            return ImageOps.fit(image, size, bilinear)
        if self.resize == "pad":
            return ImageOps.pad(image, size, bilinear)
        return image.resize(size, bilinear)


def _to_mode(image: Image, mode: str) -> Image:
    import numpy as np
    from PIL import Image

    if image.mode == "F":
        image = Image.fromarray(_from_floats(np.asarray(image)))
    elif image.mode.startswith("I"):
        # Pillow's own conversion clips 16 bits at 255.
        sixteen = np.asarray(image).astype(np.uint32).clip(0, 2**16 - 1)
        image = Image.fromarray((sixteen // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)


def _from_floats(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    lowest, highest = pixels.min(), pixels.max()
    # NaN is in no range.
    if not (lowest >= 0 and highest <= 1):
        raise ValueError(
            f"its pixels are floats from {lowest:g} to {highest:g}, not from 0 to 1: save it with"
            " 8 or 16 bits"
        )
    whole: NDArray[np.uint8] = (pixels * 255).round().astype("uint8")
    return whole


def decode_all(
    names: Sequence[str],
    read: Read,
    decoder: Decoder,
    threads: int,
    progress: Callable[[int], None],
) -> tuple[NDArray[np.uint8], dict[int, str]]:
    """Decode files, in parallel.

    Args:
        names: the files.
        read: gives a file's content.
        decoder: makes an array of it.
        threads: how many decode at once.
        progress: told how many are done.

    Returns:
        the images, in the order of the names, and what is wrong with which: position → reason.
        The image of such a position is black.
    """
    import numpy as np

    size = decoder.size
    images = np.zeros((len(names), size, size, decoder.channels), np.uint8)
    bad: dict[int, str] = {}

    def decode(chunk: range) -> int:
        for i in chunk:
            try:
                images[i] = decoder.decode(read(names[i]))
            # Decoders of damaged files raise whatever they stumble over.
            except Exception as error:
                bad[i] = str(error).partition("<_io")[0].strip() or type(error).__name__
        return chunk.stop

    chunks = [range(i, min(i + _CHUNK, len(names))) for i in range(0, len(names), _CHUNK)]
    with _bombs_are_errors(), ThreadPoolExecutor(threads) as pool:
        for done in pool.map(decode, chunks):
            progress(done)
    return images, dict(sorted(bad.items()))


def _bombs_are_errors() -> AbstractContextManager[object]:
    from PIL import Image

    return warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning)
