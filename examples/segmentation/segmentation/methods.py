"""Three ways to divide a photograph into regions. Arrays in, label arrays out; no database.

Labels are integers shaped like the photograph: 0 is background, 1..n are the regions.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage
from skimage import color, feature, filters, measure, morphology, segmentation, util


def segment(photo: np.ndarray, method: str, parameters: dict[str, float]) -> np.ndarray:
    """Label the regions of `photo`. Raises ValueError where the method does not suit the photograph."""
    labels = METHODS[method](photo, **parameters)
    return labels.astype(np.uint16)


def otsu(photo: np.ndarray, *, blur: float, min_area: int) -> np.ndarray:
    """What is brighter than Otsu's threshold, one label for each connected part."""
    return measure.label(bright(photo, blur, min_area))


def watershed(photo: np.ndarray, *, blur: float, min_area: int, min_distance: int) -> np.ndarray:
    """What is brighter than Otsu's threshold, cut at its waists: touching objects come apart."""
    mask = bright(photo, blur, min_area)
    depth = ndimage.distance_transform_edt(mask)
    peaks = feature.peak_local_max(depth, min_distance=min_distance, labels=measure.label(mask))
    markers = np.zeros(mask.shape, dtype=np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return segmentation.watershed(-depth, markers, mask=mask)


def felzenszwalb(photo: np.ndarray, *, scale: float, sigma: float, min_size: int) -> np.ndarray:
    """Felzenszwalb and Huttenlocher's graph-based regions of even colour; they cover everything."""
    channel_axis = -1 if photo.ndim == 3 else None
    found = segmentation.felzenszwalb(
        photo, scale=scale, sigma=sigma, min_size=min_size, channel_axis=channel_axis
    )
    return found + 1  # its first region is 0, which is background here


def bright(photo: np.ndarray, blur: float, min_area: int) -> np.ndarray:
    """A mask of the parts above Otsu's threshold that are at least `min_area` pixels large."""
    smooth = filters.gaussian(to_grey(photo), blur)
    mask = smooth > filters.threshold_otsu(smooth)
    return morphology.remove_small_objects(mask, max_size=min_area - 1)


def to_grey(photo: np.ndarray) -> np.ndarray:
    """Luminance, 0 to 1.

    Raises ValueError for a picture with transparency: what shines through it is not known.
    """
    return util.img_as_float(photo) if photo.ndim == 2 else color.rgb2gray(photo)


METHODS: dict[str, Callable[..., np.ndarray]] = {
    "otsu": otsu,
    "watershed": watershed,
    "felzenszwalb": felzenszwalb,
}


def describe_regions(labels: np.ndarray) -> list[dict[str, float]]:
    """One row for each region: `region`, `area` and `perimeter` (pixels), `row` and `col` of its centre."""
    wanted = ("label", "area", "perimeter", "centroid", "eccentricity")
    columns = measure.regionprops_table(labels, properties=wanted)
    names = {"label": "region", "centroid-0": "row", "centroid-1": "col"}
    return [
        {names.get(name, name): value for name, value in zip(columns, values, strict=True)}
        for values in zip(*(column.tolist() for column in columns.values()), strict=True)
    ]


def edge_contrast(photo: np.ndarray, labels: np.ndarray) -> float:
    """How much steeper the photograph is along the outlines than elsewhere; 1 is no better than chance."""
    channels = np.atleast_3d(util.img_as_float(photo))
    slope = np.max([filters.sobel(channel) for channel in np.moveaxis(channels, -1, 0)], axis=0)
    outlines = segmentation.find_boundaries(labels)
    return float(slope[outlines].mean() / slope.mean())
