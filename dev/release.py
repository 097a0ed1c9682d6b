"""What a release is made of: `python -m dev.release check TAG`, `notes` and `files IMAGE DIGEST`.

The version stands in one place, `operator/populate_operator/__init__.py`; a tag only repeats it.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
from pathlib import Path

from dev.cache import REPOSITORY, cache_dir
from dev.chart import BASE_NAMESPACE, CHART, render
from dev.cluster import tools
from dev.console import SetupError, main_or_exit, run
from dev.crds import CRD_FILE
from populate_operator import __version__

FOLDER = REPOSITORY / "dist"
CHANGELOG = REPOSITORY / "CHANGELOG.md"
SUMS = "SHA256SUMS"


def check_tag(tag: str, version: str = __version__) -> None:
    """Raises SetupError unless `tag` is `v` and the version of the sources."""
    if tag != f"v{version}":
        raise SetupError(
            f"the tag is {tag!r} and the version of the sources {version}: tag v{version}, or change "
            "__version__ in operator/populate_operator/__init__.py and run `make chart`"
        )


def release_notes(changelog: str, version: str = __version__) -> str:
    """The section of `version` in the text of CHANGELOG.md, without its heading.

    Raises SetupError where there is none.
    """
    heading = rf"^## \[{re.escape(version)}\][^\n]*\n"
    found = re.search(heading + r"(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    if not found or not found[1].strip():
        raise SetupError(f"CHANGELOG.md says nothing of {version}: give it a section '## [{version}] - DATE'")
    return found[1].strip() + "\n"


def render_install(image: str, digest: str) -> str:
    """CRD, namespace and operator for `kubectl apply -f`, with the image by its digest.

    Raises SetupError when `digest` is none.
    """
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise SetupError(f"{digest!r} is no digest of an image: give sha256: and 64 hexadecimal digits")
    values = {"image": {"repository": image, "digest": digest}, "crds": {"install": False}}
    operator = render(values, "--namespace", BASE_NAMESPACE, "--skip-tests")
    namespace = f"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {BASE_NAMESPACE}\n"
    return "---\n".join([CRD_FILE.read_text(), namespace, operator.removeprefix("---\n")])


def checksums(folder: Path) -> str:
    """A line for `sha256sum --check` for each file of `folder`."""
    files = sorted(path for path in folder.iterdir() if path.name != SUMS)
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)


def write_files(image: str, digest: str, folder: Path = FOLDER) -> None:
    """Fill `folder` anew with what is attached to a release. Raises SetupError."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "install.yaml").write_text(render_install(image, digest))
    shutil.copy(CRD_FILE, folder / CRD_FILE.name)
    command: list[str | Path] = [tools.binary("helm"), "package", CHART, "--destination", folder]
    run(command, log=cache_dir("log") / "helm-package.log")
    (folder / SUMS).write_text(checksums(folder))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m dev.release")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser(
        "check", help="does the tag repeat the version, and the changelog know it"
    ).add_argument("tag")
    files = commands.add_parser("files", help="write dist/")
    files.add_argument("image")
    files.add_argument("digest")
    commands.add_parser("notes", help="print the changelog's section")
    options = parser.parse_args()
    if options.command == "check":
        check_tag(options.tag)
        release_notes(CHANGELOG.read_text())
    elif options.command == "notes":
        print(release_notes(CHANGELOG.read_text()), end="")
    else:
        write_files(options.image, options.digest)


if __name__ == "__main__":
    main_or_exit(main)
