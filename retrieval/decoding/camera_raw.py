"""Camera raw files: their embedded preview if it is large enough, else the developed photo, with LibRaw."""

import io
from contextlib import suppress
from typing import Any

from PIL import ExifTags, Image, ImageFile, TiffImagePlugin

from retrieval.errors import UnreadablePhoto

SIGNATURES = (b"FUJIFILMCCD-RAW", b"IIU\0", b"IIRO", b"IIRS", b"MMOR", b"FOVb", b"\0MRM")
TIFF = (b"II*\0", b"MM\0*")
CIFF = b"HEAPCCDR"  # at byte 6 of a CRW
CR3 = b"ftypcrx "  # at byte 4
# Tags and values of TIFF that only raw files have in their first directory.
DNG_VERSION, SUB_DIRECTORIES, NEW_SUBFILE_TYPE, REDUCED = 50706, 330, 254, 1
RAW_PHOTOMETRIC = (32803, 34892)  # colour filter array, linear raw
ORIENTATIONS = {3: 3, 5: 8, 6: 6}  # LibRaw's `flip` → EXIF orientation

ENOUGH = 1024  # pixels of a preview's shorter side, unless less is asked for
SAME_ASPECT = 0.03
DEVELOPING_BYTES = 16  # per pixel of the sensor: its values, LibRaw's image of four channels and the result


class CameraRawFile(ImageFile.ImageFile):
    """A camera raw file; raises `UnreadablePhoto` if LibRaw is not installed.

    `full_size` is the size of the whole photo as it is stored; the opened image may be a reduced version of it.
    """

    format = "RAW"
    format_description = "camera raw"
    full_size: tuple[int, int]
    _raw: Any = None  # None once it is loaded
    _preview: Image.Image | None = None
    _uses_preview = _is_half = False

    def _open(self) -> None:
        assert self.fp is not None
        self._raw = _opened(self.fp)
        self._preview = _preview(self._raw)
        self._mode = "RGB"
        self._choose(ENOUGH)

    @property
    def decoder_bytes(self) -> int:
        """The memory that LibRaw takes, besides the decoded image."""
        if self._uses_preview:
            return 0
        return DEVELOPING_BYTES * self.full_size[0] * self.full_size[1] // (4 if self._is_half else 1)

    def draft(self, mode: str | None, size: tuple[int, int] | None) -> None:
        """Choose a version of at least this size; see `PIL.Image.Image.draft`."""
        if size is not None and self._raw is not None:
            self._choose(min(size))
            if self._uses_preview and self._preview is not None:
                self._preview.draft(mode, size)
                self._size = self._preview.size

    def load(self) -> Any:
        """Decode the preview or develop the photo; see `PIL.ImageFile.ImageFile.load`."""
        if self._raw is not None:
            image = self._preview if self._uses_preview and self._preview else _developed(self._raw, self._is_half)
            image.load()
            self._raw = self._preview = None
            self.im, self._size, self._mode = image.im, image.size, image.mode
        return super().load()

    def _choose(self, enough: int) -> None:
        """Use the preview if its shorter side is long enough, or else half the sensor's size if that is enough."""
        sizes, preview = self._raw.sizes, self._preview
        self.full_size = sizes.width, sizes.height
        self._uses_preview = preview is not None and min(preview.size) >= min(enough, *self.full_size)
        self._is_half = not self._uses_preview and min(self.full_size) >= 2 * enough
        orientation = ORIENTATIONS.get(sizes.flip, 1)
        if preview is not None and self._uses_preview:
            self._size = preview.size
            orientation = _preview_orientation(preview, self.full_size, orientation)
            self.full_size = _common_size(preview.size, self.full_size)
            self.info = {"icc_profile": preview.info.get("icc_profile")}
        else:
            width, height = self.full_size
            self._size = ((width + 1) // 2, (height + 1) // 2) if self._is_half else (width, height)
            self.info = {}
        self.info["exif"] = _exif(orientation)


def is_camera_raw(data: bytes) -> bool:
    """Whether data are a camera raw file; most are TIFF files whose first directory has a small preview."""
    if data.startswith(SIGNATURES) or data[4:12] == CR3 or data[6:14] == CIFF:
        return True
    return data.startswith(TIFF) and (data[8:10] == b"CR" or _is_raw_tiff(data))


def _is_raw_tiff(data: bytes) -> bool:
    with suppress(Exception):  # a damaged TIFF
        directory = TiffImagePlugin.ImageFileDirectory_v2(data[:8])
        file = io.BytesIO(data)
        file.seek(directory.next)
        directory.load(file)
        has_small_preview = directory.get(NEW_SUBFILE_TYPE) == REDUCED and SUB_DIRECTORIES in directory
        photometric = directory.get(ExifTags.Base.PhotometricInterpretation)
        return DNG_VERSION in directory or has_small_preview or photometric in RAW_PHOTOMETRIC
    return False


def _opened(file: Any) -> Any:
    try:
        import rawpy  # noqa: PLC0415 - an extra
    except ImportError:
        raise UnreadablePhoto("It is a camera raw file.", "Install lookalike[raw] to read it.") from None
    return rawpy.imread(file)


def _preview(raw: Any) -> Image.Image | None:
    """The largest JPEG in a raw file, opened; None if it has none."""
    with suppress(Exception):  # a raw file without a preview, or with a damaged one, is developed
        data = raw.extract_thumb().data
        if isinstance(data, bytes):
            return Image.open(io.BytesIO(data), formats=("JPEG",))
    return None


def _preview_orientation(preview: Image.Image, full: tuple[int, int], orientation: int) -> int:
    """The EXIF orientation of a preview: its own if it has one, else the raw file's, unless it is upright already."""
    if orientation >= 5 and (preview.width < preview.height) != (full[0] < full[1]):
        return 1
    return int(preview.getexif().get(ExifTags.Base.Orientation, orientation))


def _exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif.tobytes()


def _developed(raw: Any, is_half: bool) -> Image.Image:
    pixels = raw.postprocess(use_camera_wb=True, half_size=is_half, user_flip=0)
    return Image.fromarray(pixels)


def _common_size(preview: tuple[int, int], full: tuple[int, int]) -> tuple[int, int]:
    """The size of the whole photo; that of the preview if it shows another part of the sensor."""
    is_same = abs(preview[0] * full[1] / (preview[1] * full[0]) - 1) < SAME_ASPECT
    return full if is_same else preview
