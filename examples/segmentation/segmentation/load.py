"""Declare the tables and load the photographs: `python -m segmentation.load`. Safe to repeat."""

from segmentation.pipeline import Image, Method

if __name__ == "__main__":
    Image.load()
    print(f"{len(Image())} photographs, {len(Method())} methods")
