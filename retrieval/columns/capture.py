"""What a file says about how its photo was taken: EXIF capture date, camera and place.

EXIF 2.32: https://www.cipa.jp/std/documents/e/DC-008-Translation-2019-E.pdf
"""

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from PIL import ExifTags, Image

from retrieval.columns.kinds import Columns, Place, is_place, parse_date
from retrieval.decoding.opening import open_image
from retrieval.labels import normalized

MARKS = (b"Exif", b"eXIf", b"EXIF")  # of JPEG, HEIC and JPEG XL; of PNG; of WebP
TIFF = (b"II*\0", b"MM\0*")  # and most camera raw files, which begin with their EXIF data


def captured(data: bytes) -> Columns:
    """Return `taken`, `camera` and `place` of an encoded photo, as far as its file has them.

    The time has the zone of the camera if the file names it; otherwise it counts as UTC.

    Args:
        data: the file, or its beginning, in which mostly all of this is.
    """
    with suppress(Exception):  # damaged metadata is no reason to refuse a photo
        exif = _exif(data)
        if exif is not None:
            return {name: value for name, read in READ.items() if (value := _read(read, exif))}
    return {}


def _read(read: Callable[[Image.Exif], str | Place | None], exif: Image.Exif) -> str | Place | None:
    with suppress(Exception):  # one damaged value leaves the others
        return read(exif)
    return None


def _exif(data: bytes) -> Image.Exif | None:
    if data.startswith(TIFF):
        exif = Image.Exif()
        exif.load(data)
        return exif
    return open_image(data).getexif() if any(mark in data for mark in MARKS) else None


def _taken(exif: Image.Exif) -> str | None:
    """The capture date in ISO 8601 in UTC."""
    fields = exif.get_ifd(ExifTags.IFD.Exif)
    base = ExifTags.Base
    for date, offset in (
        (base.DateTimeOriginal, base.OffsetTimeOriginal),
        (base.DateTimeDigitized, base.OffsetTimeDigitized),
    ):
        day, _, time = _text(fields.get(date)).partition(" ")
        written = f"{day.replace(':', '-')}T{time}"
        if taken := parse_date(written + _text(fields.get(offset))) or parse_date(written):
            return taken.isoformat()
    return None


def _camera(exif: Image.Exif) -> str | None:
    make, model = _text(exif.get(ExifTags.Base.Make)), _text(exif.get(ExifTags.Base.Model))
    first, _, _ = make.partition(" ")
    return normalized(model if model.lower().startswith(first.lower()) else f"{make} {model}")


def _place(exif: Image.Exif) -> Place | None:
    fields = exif.get_ifd(ExifTags.IFD.GPSInfo)
    gps = ExifTags.GPS
    latitude = _degrees(fields, gps.GPSLatitude, gps.GPSLatitudeRef, "S")
    longitude = _degrees(fields, gps.GPSLongitude, gps.GPSLongitudeRef, "W")
    if not math.isfinite(latitude + longitude) or not is_place(latitude, longitude):
        return None
    return {"lat": latitude, "lon": longitude}


def _degrees(fields: Mapping[int, Any], value: int, reference: int, negative: str) -> float:
    degrees, minutes, seconds = map(float, fields[value])
    sign = -1 if _text(fields.get(reference)).upper() == negative else 1
    return round(sign * (degrees + minutes / 60 + seconds / 3600), 7)


def _text(value: object) -> str:
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value or "")
    return text.partition("\0")[0].strip()


READ = {"taken": _taken, "camera": _camera, "place": _place}
