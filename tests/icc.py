"""Colour profiles written by hand, and the colours that they mean, computed without Little CMS."""

import struct

import numpy as np
import numpy.typing as npt

Colours = npt.NDArray[np.float64]

# Red, green and blue as CIE XYZ with the white point D50 (columns), of http://www.brucelindbloom.com and the standards.
SRGB = np.array([[0.43607, 0.38506, 0.14308], [0.22250, 0.71688, 0.06062], [0.01393, 0.09710, 0.71417]])
DISPLAY_P3 = np.array([[0.51512, 0.29198, 0.15710], [0.24119, 0.69224, 0.06657], [-0.00105, 0.04188, 0.78407]])
ADOBE_RGB = np.array([[0.60976, 0.20524, 0.14922], [0.31112, 0.62566, 0.06322], [0.01948, 0.06089, 0.74484]])
PROPHOTO = np.array([[0.79767, 0.13519, 0.03135], [0.28804, 0.71187, 0.00009], [0.0, 0.0, 0.82521]])
D50 = np.array([0.9642, 1.0, 0.8249])
SRGB_CURVE = 0.0  # stands for the curve of sRGB among the gammas
GRID = 9


def decoded(values: Colours, gamma: float) -> Colours:
    """Values from 0 to 1 as linear light."""
    if gamma != SRGB_CURVE:
        return values**gamma
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def from_xyz(xyz: Colours) -> Colours:
    """XYZ with the white point D50 as sRGB, 0 to 1."""
    linear = np.clip(xyz @ np.linalg.inv(SRGB).T, 0, 1)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def rgb_to_srgb(pixels: npt.NDArray[np.uint8], primaries: Colours, gamma: float) -> Colours:
    """What RGB pixels of a colour space are in sRGB, 0 to 255."""
    return 255 * from_xyz(decoded(pixels / 255, gamma) @ primaries.T)


def lab(srgb: npt.NDArray[np.generic]) -> Colours:
    """The CIE L*a*b* values of sRGB, 0 to 255."""
    ratio = decoded(np.asarray(srgb, float) / 255, SRGB_CURVE) @ SRGB.T / D50
    roots = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    x, y, z = np.moveaxis(roots, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def difference(one: npt.NDArray[np.generic], other: npt.NDArray[np.generic]) -> float:
    """The mean colour difference ΔE*ab (CIE 1976) of two sRGB images."""
    return float(np.linalg.norm(lab(one) - lab(other), axis=-1).mean())


def rgb_profile(primaries: Colours, gamma: float) -> bytes:
    """A display profile of three primaries and a tone curve."""
    tags = {name: _xyz(column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries.T, strict=True)}
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(gamma)))


def grey_profile(gamma: float) -> bytes:
    """A profile for grey images."""
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _curve(gamma)})


def ink(cmyk: npt.NDArray[np.generic]) -> Colours:
    """The sRGB colours, 0 to 255, of inks from 0 to 1 on slightly yellow paper; they are those of `cmyk_profile`."""
    inks = np.asarray(cmyk, float)
    light = (1 - 0.85 * inks[..., :3]) * (1 - inks[..., 3:])
    return 255 * light * [1, 0.98, 0.92]


def cmyk_profile() -> bytes:
    """A printer profile, as a table of L*a*b* for nine amounts of each ink (`lut8Type`)."""
    amounts = np.linspace(0, 1, GRID)
    inks = np.stack(np.meshgrid(*[amounts] * 4, indexing="ij"), -1).reshape(-1, 4)
    table = np.clip(np.round(lab(ink(inks)) * [2.55, 1, 1] + [0, 128, 128]), 0, 255).astype(np.uint8)
    line = bytes(range(256))
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    lut = b"mft1\0\0\0\0" + bytes([4, 3, GRID, 0]) + identity + 4 * line + table.tobytes() + 3 * line
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": lut})


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    """ICC.1:2010, 7.2 and 7.3."""
    tags = {b"wtpt": _xyz(D50)} | tags
    start = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(data))
        body += data + b"\0" * (-len(data) % 4)
    header = struct.pack(">I4sI4s4s4s12x4s", start + len(body), b"", 0x04300000, kind, space, connection, b"acsp")
    header = header.ljust(68, b"\0") + struct.pack(">3i", *(round(value * 65536) for value in D50))
    return header.ljust(128, b"\0") + table + body


def _xyz(values: Colours) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


def _curve(gamma: float) -> bytes:
    if gamma != SRGB_CURVE:
        return b"para" + struct.pack(">IHHi", 0, 0, 0, round(gamma * 65536))
    parameters = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    return b"para" + struct.pack(">IHH5i", 0, 3, 0, *(round(value * 65536) for value in parameters))
