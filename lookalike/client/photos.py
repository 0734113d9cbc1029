"""Photos as programs have them, encoded for an upload."""

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Union

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL import Image

Photo: TypeAlias = Union[str, "os.PathLike[str]", bytes, "npt.NDArray[np.uint8]", "Image.Image"]

PNG_MODES = {"1", "L", "LA", "P", "RGB", "RGBA", "I;16"}
TIFF_MODES = {"CMYK", "F", "I", "LAB", "YCbCr"}


def encoded(photo: Photo) -> bytes:
    """Return the file of a photo: read from a path, or made without loss from pixels.

    Args:
        photo: a path; the content of a file; pixels, uint8 [height, width], [height, width, 3] (RGB) or
            [height, width, 4] (RGBA); a PIL image.

    Raises:
        OSError: the file can't be read.
        ValueError: an array has another shape or type.
        TypeError: it is none of these.
    """
    if isinstance(photo, bytes):
        return photo
    if isinstance(photo, str | os.PathLike):
        return Path(photo).read_bytes()
    if _is_image(photo):
        return _of_image(photo)
    if hasattr(photo, "__array_interface__"):
        return _of_array(photo)
    raise TypeError(f"A photo is a path, bytes, a NumPy array or a PIL image, not {type(photo).__name__}.")


def _is_image(photo: Any) -> bool:
    """Whether it is a PIL image; if there is one, PIL has been imported."""
    pil = sys.modules.get("PIL.Image")
    return pil is not None and isinstance(photo, pil.Image)


def _of_array(pixels: Any) -> bytes:
    from PIL import Image  # noqa: PLC0415 - only for arrays

    is_grey_or_colour = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))
    if str(pixels.dtype) != "uint8" or not is_grey_or_colour or 0 in pixels.shape:
        raise ValueError(
            f"The array is {pixels.dtype} {list(pixels.shape)}; pixels are uint8 [height, width], [height, width, 3] "
            "or [height, width, 4]."
        )
    return _of_image(Image.fromarray(pixels))


def _of_image(image: Any) -> bytes:
    from PIL import ImageOps  # noqa: PLC0415 - only for images

    upright = ImageOps.exif_transpose(image)
    if upright.mode not in PNG_MODES | TIFF_MODES:
        upright = upright.convert("RGB")
    file = io.BytesIO()
    if upright.mode in PNG_MODES:
        upright.save(file, "PNG", compress_level=1)
    else:
        upright.save(file, "TIFF")
    return file.getvalue()
