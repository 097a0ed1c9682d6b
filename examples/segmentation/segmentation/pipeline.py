"""The tables: Image and Method in, Segmentation for each pair, Summary for each Segmentation."""

from __future__ import annotations

import os

import datajoint as dj
import numpy as np

from segmentation import methods, photographs

schema = dj.Schema(os.environ.get("SEGMENTATION_SCHEMA", "segmentation"))


@schema
class Image(dj.Manual):
    definition = """
    image : varchar(32)
    ---
    photo : <blob>  # uint8, (rows, columns) or (rows, columns, channels)
    """

    @classmethod
    def load(cls) -> None:
        """Insert the photographs that are not there yet."""
        present = set(cls.proj().to_arrays("image"))
        cls.insert(
            {"image": name, "photo": photographs.read(name)}
            for name in photographs.FILES
            if name not in present
        )


@schema
class Method(dj.Lookup):
    definition = """
    method : varchar(32)
    ---
    parameters : json
    """
    contents = (
        ("otsu", {"blur": 1.0, "min_area": 64}),
        ("watershed", {"blur": 1.0, "min_area": 64, "min_distance": 10}),
        ("felzenszwalb", {"scale": 200.0, "sigma": 0.8, "min_size": 200}),
    )


@schema
class Segmentation(dj.Computed):
    definition = """
    -> Image
    -> Method
    ---
    regions : int32     # how many were found
    coverage : float64  # the part of the photograph that they cover, 0 to 1
    labels : <blob>     # uint16, (rows, columns); 0 is background
    """

    class Region(dj.Part):
        definition = """
        -> master
        region : int32
        ---
        area : float64         # pixels
        perimeter : float64    # pixels
        row : float64          # of the centre, pixels from the top
        col : float64          # of the centre, pixels from the left
        eccentricity : float64 # 0 is a circle, 1 a line
        """

    def make(self, key: dict[str, str]) -> None:
        photo = (Image & key).fetch1("photo")
        parameters = (Method & key).fetch1("parameters")
        labels = methods.segment(photo, key["method"], parameters)
        regions = methods.describe_regions(labels)
        self.insert1(
            {**key, "regions": len(regions), "coverage": float(np.mean(labels > 0)), "labels": labels}
        )
        self.Region.insert({**key, **region} for region in regions)


@schema
class Summary(dj.Computed):
    definition = """
    -> Segmentation
    ---
    median_area : float64    # pixels
    largest : float64        # the largest region's part of the photograph, 0 to 1
    edge_contrast : float64  # slope along the outlines over the mean slope; 1 is chance
    """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """Segmentations that divided something: one region alone has no sizes to compare."""
        return Segmentation & "regions > 1"

    def make(self, key: dict[str, str]) -> None:
        photo = (Image & key).fetch1("photo")
        labels = (Segmentation & key).fetch1("labels")
        areas = (Segmentation.Region & key).to_arrays("area")
        self.insert1(
            {
                **key,
                "median_area": float(np.median(areas)),
                "largest": float(areas.max() / labels.size),
                "edge_contrast": methods.edge_contrast(photo, labels),
            }
        )
