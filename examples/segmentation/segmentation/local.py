"""The whole pipeline under plain DataJoint, in this process: `python -m segmentation.local`."""

from segmentation.pipeline import Image, Segmentation, Summary
from segmentation.results import print_results


def main() -> None:
    """Load the photographs, populate both tables and print the results; failures stay in `jobs.errors`."""
    Image.load()
    for table in (Segmentation, Summary):
        table.populate(reserve_jobs=True, suppress_errors=True, display_progress=True)
    print_results()


if __name__ == "__main__":
    main()
