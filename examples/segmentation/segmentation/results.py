"""A table of what the pipeline found: `python -m segmentation.results`."""

from __future__ import annotations

from segmentation.pipeline import Image, Method, Segmentation, Summary

HEAD = ("image", "method", "regions", "coverage", "median area", "edge contrast")
PAIR = "{:<22}{:<14}"
LINE = PAIR + "{:>8}{:>10}{:>13}{:>15}"


def failures() -> dict[tuple[str, str], str]:
    """The error message of each failed (image, method)."""
    rows = Segmentation.jobs.errors.proj("error_message").to_dicts()
    return {_pair(row): row["error_message"] for row in rows}


def lines() -> list[str]:
    """One line for each image and method: its numbers, why it failed, or that it is still to come."""
    found = {_pair(row): row for row in Segmentation().proj("regions", "coverage").to_dicts()}
    summaries = {_pair(row): row for row in Summary().to_dicts()}
    failed = failures()
    return [_line(pair, found.get(pair), summaries.get(pair), failed.get(pair)) for pair in _pairs()]


def _pairs() -> list[tuple[str, str]]:
    return [_pair(row) for row in (Image.proj() * Method.proj()).to_dicts(order_by="KEY")]


def _pair(row: dict[str, str]) -> tuple[str, str]:
    return row["image"], row["method"]


def _line(pair: tuple[str, str], found: dict | None, summary: dict | None, failure: str | None) -> str:
    if found is None:
        return PAIR.format(*pair) + f"  {failure or 'not computed yet'}"
    numbers = [f"{found['regions']}", f"{found['coverage']:.0%}"]
    numbers += [f"{summary['median_area']:.0f}", f"{summary['edge_contrast']:.2f}"] if summary else ["-", "-"]
    return LINE.format(*pair, *numbers)


def print_results() -> None:
    """Print the table of results with its head."""
    print(LINE.format(*HEAD))
    print("\n".join(lines()))


if __name__ == "__main__":
    print_results()
