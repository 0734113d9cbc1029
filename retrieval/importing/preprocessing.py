"""How a network's authors prepare a photo, as they describe it beside the network, or as the user does."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from retrieval.errors import BadSource
from retrieval.images import Interpolation, ResizeRule

Resize = Literal["shortest", "squash", "pad"]
Colours = tuple[float, float, float]  # for red, green and blue
Layout = Literal["nchw", "nhwc"]  # the order of the axes of a batch: number, channel, height, width
Pool = Literal["cls", "mean"]  # which vector of an output with several: the first, or their mean
MODES: Final[dict[str, Literal["crop", "squash", "pad"]]] = {"shortest": "crop", "squash": "squash", "pad": "pad"}
PILLOW: Final[dict[object, Interpolation]] = {1: "lanczos", 2: "bilinear", 3: "bicubic"}
NAMED: Final[dict[str, Interpolation]] = {name: name for name in PILLOW.values()}
OTHERS: Final = {0: "nearest", 4: "box", 5: "hamming"}
IMAGENET: Final = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
UNUSUAL: Final = {  # settings of Transformers that change the pixels and that bundles do not support
    "do_flip_channel_order": "the order of the colours is reversed",
    "rescale_offset": "the pixels are shifted after they are rescaled",
    "do_thumbnail": "photos are reduced to thumbnails first",
}


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """From a photo to the values that a network takes; None for what is not known.

    A pixel from 0 to 255 is multiplied by `rescale`; then `mean` is subtracted, and the difference divided by `std`,
    for red, green and blue.
    """

    size: int | None = None
    shorter_side: int | None = None
    resize: Resize | None = None
    interpolation: Interpolation | None = None
    mean: Colours | None = None
    std: Colours | None = None
    rescale: float = 1 / 255
    fill: int = 0

    @property
    def rule(self) -> ResizeRule:
        """How a photo is resized; size, resize and interpolation must be known."""
        assert self.size is not None and self.resize is not None and self.interpolation is not None
        return ResizeRule(
            size=self.size,
            shorter_side=self.shorter_side or self.size,
            mode=MODES[self.resize],
            interpolation=self.interpolation,
            whole_pixels=True,
            fill=self.fill,
        )


def read_transformers(path: Path) -> Preprocessing:
    """Read a `preprocessor_config.json` of Transformers.

    Raises `BadSource` if it lacks the sizes, or describes what bundles do not support.
    """
    config = read_json(path)
    for name, meaning in UNUSUAL.items():
        if config.get(name):
            raise _unsupported(path, f"{name}: {meaning}")
    if not config.get("do_resize", True):
        raise _unsupported(path, "do_resize is false: photos are not resized")
    size, shorter_side, resize = _sizes(path, config)
    is_normalized = config.get("do_normalize", True)
    return Preprocessing(
        size,
        shorter_side,
        resize,
        _interpolation(path, config.get("resample", 2)),
        _colours(path, config, "image_mean", IMAGENET[0]) if is_normalized else (0.0, 0.0, 0.0),
        _colours(path, config, "image_std", IMAGENET[1]) if is_normalized else (1.0, 1.0, 1.0),
        _number(path, config, "rescale_factor", 1 / 255) if config.get("do_rescale", True) else 1.0,
    )


def read_timm(path: Path) -> Preprocessing | None:
    """Read the `pretrained_cfg` of timm in a `config.json`; None if it has none; raises as `read_transformers`."""
    config = read_json(path).get("pretrained_cfg")
    if not isinstance(config, dict):
        return None
    size = _square(path, config.get("input_size", [])[-2:])
    crop = _number(path, config, "crop_pct", 0.875)
    mode = config.get("crop_mode", "center")
    if mode not in ("center", "squash"):
        raise _unsupported(path, f"crop_mode is {mode}")
    return Preprocessing(
        size,
        int(size / crop) if mode == "center" else size,
        "shortest" if mode == "center" else "squash",
        _interpolation(path, config.get("interpolation", "bilinear")),
        _colours(path, config, "mean", IMAGENET[0]),
        _colours(path, config, "std", IMAGENET[1]),
    )


def read_immich(path: Path) -> Preprocessing:
    """Read a `preprocess_cfg.json` of OpenCLIP, as Immich has it; raises as `read_transformers`."""
    config = read_json(path)
    modes: dict[object, Resize] = {"shortest": "shortest", "squash": "squash", "longest": "pad"}
    mode = config.get("resize_mode", "shortest")
    if mode not in modes:
        raise _unsupported(path, f"resize_mode is {mode}")
    size = config.get("size")
    size = _square(path, size if isinstance(size, list) else [size, size])
    fill = config.get("fill_color", 0)
    if not (isinstance(fill, int) and 0 <= fill <= 255):
        raise _unsupported(path, f"fill_color is {fill}")
    return Preprocessing(
        size,
        size,
        modes[mode],
        _interpolation(path, config.get("interpolation", "bicubic")),
        _colours(path, config, "mean", IMAGENET[0]),
        _colours(path, config, "std", IMAGENET[1]),
        fill=fill,
    )


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; raises `BadSource` if the file is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadSource(f"{path} can't be read ({error}).", "Copy it again from its source.") from None
    if not isinstance(content, dict):
        raise BadSource(f"{path} is not a JSON object.", "Copy it again from its source.")
    return content


def _sizes(path: Path, config: Mapping[str, Any]) -> tuple[int, int, Resize]:
    """The size of the input, the length of the shorter side before it is cropped, and how photos are resized."""
    size = config.get("size")
    crop = config.get("crop_size") if config.get("do_center_crop") else None
    if isinstance(size, int):  # as in older versions of Transformers
        size = {"shortest_edge": size} if crop or "crop_pct" in config else {"height": size, "width": size}
    if not isinstance(size, dict):
        raise BadSource(f"{path} does not say to which size photos are resized.", "Name it: --size 224.")
    if config.get("do_pad") or "longest_edge" in size:
        raise _unsupported(path, "photos are padded on the right and below")
    if "shortest_edge" not in size:
        side = _square(path, [size.get("height"), size.get("width")])
        return (_crop(path, crop) if crop else side), side, "squash"
    shorter_side = _square(path, [size["shortest_edge"]] * 2)
    if "crop_pct" in config:  # ConvNeXT
        if shorter_side >= 384:
            return shorter_side, shorter_side, "squash"
        return shorter_side, int(shorter_side / _number(path, config, "crop_pct", 0.875)), "shortest"
    if not crop:
        raise _unsupported(path, "photos keep their proportions and are not cropped, so that inputs are not square")
    return _crop(path, crop, shorter_side), shorter_side, "shortest"


def _crop(path: Path, crop: object, at_most: int | None = None) -> int:
    sides = [crop.get("height"), crop.get("width")] if isinstance(crop, dict) else [crop, crop]
    size = _square(path, sides)
    if at_most is None:
        raise _unsupported(path, "photos are squashed and then cropped")
    if size > at_most:
        raise _unsupported(path, f"photos of {at_most} pixels are cropped to {size}")
    return size


def _square(path: Path, sides: Sequence[object]) -> int:
    if not sides or not all(isinstance(side, int) and side > 0 for side in sides):
        raise BadSource(f"{path} does not say to which size photos are resized.", "Name it: --size 224.")
    if len(set(sides)) > 1:
        raise _unsupported(
            path, "the input is " + " × ".join(map(str, sides)) + " pixels, and only squares are possible"
        )
    return int(str(sides[0]))


def _interpolation(path: Path, value: object) -> Interpolation:
    known = PILLOW.get(value) or NAMED.get(str(value))
    if known is None:
        name = OTHERS.get(value, value) if isinstance(value, int) else value
        raise BadSource(
            f"{path} has an unknown interpolation, {name}.",
            f"{', '.join(NAMED)} are known; name one of them with --interpolation.",
        )
    return known


def _colours(path: Path, config: Mapping[str, Any], name: str, default: Colours) -> Colours:
    values = config.get(name, default)
    values = [values] * 3 if isinstance(values, int | float) else values
    if not (isinstance(values, list | tuple) and len(values) == 3 and all(isinstance(v, int | float) for v in values)):
        raise BadSource(f"{path}: {name} is {values}, and must be three numbers.", "Correct it.")
    return float(values[0]), float(values[1]), float(values[2])


def _number(path: Path, config: Mapping[str, Any], name: str, default: float) -> float:
    value = config.get(name, default)
    if value is None:
        return default
    if not isinstance(value, int | float) or value <= 0:
        raise BadSource(f"{path}: {name} is {value}, and must be a number above 0.", "Correct it.")
    return float(value)


def _unsupported(path: Path, what: str) -> BadSource:
    return BadSource(
        f"{path} prepares photos in a way that bundles do not support: {what}.",
        "Move this file elsewhere, and describe the preparation with the options of `lookalike import`.",
    )
