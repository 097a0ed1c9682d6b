"""One picture of all segmentations: `python -m segmentation.contact_sheet OUT.png`.

A row for each image and a column for each method; regions are tinted and outlined, failures marked.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image as Picture
from PIL import ImageDraw

from segmentation import drawing
from segmentation.pipeline import Image, Method, Segmentation
from segmentation.results import failures

CELL = (300, 240)  # pixels, width and height
GAP, HEAD, CAPTION = 18, 52, 22


def build_sheet() -> Picture.Image:
    """The contact sheet of what is in the database now."""
    images = Image.proj().to_arrays("image", order_by="image").tolist()
    methods = Method.proj().to_arrays("method", order_by="method").tolist()
    failed = failures()
    width, height = cell_origin(len(images), len(methods))
    sheet = Picture.new("RGB", (width, height), drawing.PAPER)
    for column, method in enumerate(methods):
        write(sheet, (cell_origin(0, column)[0], 16), method, drawing.INK, 20)
    for row, image in enumerate(images):
        photo = (Image & {"image": image}).fetch1("photo")
        for column, method in enumerate(methods):
            paste_cell(sheet, cell_origin(row, column), photo, (image, method), failed)
    return sheet


def cell_origin(row: int, column: int) -> tuple[int, int]:
    """The pixel (x, y) of a cell's top left corner."""
    return GAP + column * (CELL[0] + GAP), HEAD + row * (CELL[1] + CAPTION + GAP)


def paste_cell(
    sheet: Picture.Image,
    origin: tuple[int, int],
    photo: np.ndarray,
    pair: tuple[str, str],
    failed: dict[tuple[str, str], str],
) -> None:
    """Draw the segmentation of `pair`, or why there is none, with a caption below it."""
    key = dict(zip(("image", "method"), pair, strict=True))
    found = (Segmentation & key).to_dicts()
    if found:
        cell = drawing.draw_segmentation(photo, found[0]["labels"], CELL)
        caption, colour = f"{found[0]['regions']} regions, {found[0]['coverage']:.0%}", drawing.FAINT
    elif pair in failed:
        cell = drawing.draw_notice(photo, failed[pair], CELL, drawing.FAILED)
        caption, colour = "failed", drawing.FAILED
    else:
        cell = drawing.draw_notice(photo, "not computed yet", CELL, drawing.FAINT)
        caption, colour = "waiting", drawing.FAINT
    sheet.paste(cell, origin)
    write(sheet, (origin[0], origin[1] + cell.height + 4), f"{pair[0]}: {caption}", colour, 13)


def write(
    sheet: Picture.Image, origin: tuple[int, int], text: str, colour: tuple[int, ...], size: int
) -> None:
    """Write one line of text onto the sheet."""
    ImageDraw.Draw(sheet).text(origin, text, colour, drawing.font(size))


def main() -> None:
    """Write the contact sheet to the file that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m segmentation.contact_sheet", description=__doc__)
    parser.add_argument("out", type=Path, metavar="OUT.png", help="the file to write")
    out = parser.parse_args().out
    sheet = build_sheet()
    sheet.save(out)
    print(f"{out}: {sheet.width} x {sheet.height} pixels")


if __name__ == "__main__":
    main()
