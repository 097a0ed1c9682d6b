"""The photographs inside the scikit-image package. Nothing is downloaded, no cache folder is needed."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
from PIL import Image

FILES = {
    "astronaut": "astronaut.png",
    "camera": "camera.png",
    "cell": "cell.png",
    "chelsea": "chelsea.png",
    "coffee": "coffee.png",
    "coins": "coins.png",
    "gravel": "gravel.png",
    "horse": "horse.png",
    "hubble": "hubble_deep_field.jpg",
    "immunohistochemistry": "ihc.png",
}


def read(name: str) -> np.ndarray:
    """The photograph `name` as uint8, shaped (rows, columns) or (rows, columns, 3 or 4 channels)."""
    with files("skimage").joinpath("data", FILES[name]).open("rb") as file:
        return np.asarray(Image.open(file))
