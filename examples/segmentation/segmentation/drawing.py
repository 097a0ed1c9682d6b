"""Draws one segmentation: arrays in, a picture out; no database."""

from __future__ import annotations

import colorsys
import textwrap

import numpy as np
from PIL import Image, ImageDraw, ImageFont

PAPER, INK, FAINT, FAILED = (250, 250, 247), (32, 34, 40), (120, 122, 128), (176, 42, 48)
OUTLINE = (255, 226, 64)
TINT = 0.35  # how much of a region's own colour goes over the photograph
DIMMED = 0.45  # how bright the background between the regions stays


def draw_segmentation(photo: np.ndarray, labels: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """The photograph within `size` (width, height), its regions tinted and outlined, the rest dimmed."""
    small = fit(photo, size)
    shown = np.asarray(Image.fromarray(labels).resize(small.size, Image.Resampling.NEAREST))
    base = np.asarray(small, dtype=float)
    tinted = (1 - TINT) * base + TINT * region_colours(int(labels.max()))[shown]
    pixels = np.where(shown[..., None] > 0, tinted, DIMMED * base)
    pixels[outlines(shown)] = OUTLINE
    return Image.fromarray(pixels.astype(np.uint8))


def outlines(labels: np.ndarray) -> np.ndarray:
    """A mask of the pixels whose left or upper neighbour is in another region: lines one pixel wide."""
    mask = np.zeros(labels.shape, dtype=bool)
    mask[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    mask[1:] |= labels[1:] != labels[:-1]
    return mask


def draw_notice(
    photo: np.ndarray, notice: str, size: tuple[int, int], colour: tuple[int, ...]
) -> Image.Image:
    """The photograph faded and framed in `colour`, with `notice` written over it."""
    small = fit(photo, size)
    faded = Image.blend(small, Image.new("RGB", small.size, PAPER), 0.8)
    draw = ImageDraw.Draw(faded)
    draw.rectangle((0, 0, small.width - 1, small.height - 1), outline=colour, width=3)
    text = textwrap.fill(notice, width=small.width // 8)
    draw.multiline_text((12, 10), text, colour, font(14), spacing=5)
    return faded


def fit(photo: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """The photograph in colour, on paper where it is transparent, as large as fits into `size`."""
    picture = Image.fromarray(photo).convert("RGBA")
    scale = min(size[0] / picture.width, size[1] / picture.height)
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)))
    return Image.alpha_composite(Image.new("RGBA", picture.size, PAPER), picture).convert("RGB")


def region_colours(count: int) -> np.ndarray:
    """`count` + 1 colours, (count + 1, 3), 0 to 255; neighbours in number are far apart in hue."""
    golden = 0.618034
    hues = [colorsys.hsv_to_rgb(label * golden % 1, 0.75, 1.0) for label in range(count + 1)]
    return 255 * np.array(hues)


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font: the image needs no other."""
    return ImageFont.load_default(size)
