"""``scansuite verify``: whether a model package is whole, whose it is, and whether it computes here what it should."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from scansuite.errors import SuiteError
from scansuite.words import number_of

USAGE = """\
usage: scansuite verify FILE [--trust PUBLIC.pem]

Says of a model package (FILE.scansuite) whether each byte is as it was packed, who has signed it, what model is in it,
and whether it makes of its example on this machine what it made of it where it was packed. Ends with status 2 where
the package is refused, and with 1 where the example comes out otherwise.

  --trust  public key whose signature it must bear; left out: of whom it is, is said (scansuite keys)
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SuiteError(f"verify: {message}: see scansuite verify --help")

    def print_help(self, file: object = None) -> None:
        print(USAGE, end="")


def run(argv: Sequence[str]) -> int:
    """Print what is known of a package.

    Args:
        argv: words behind ``scansuite verify``.

    Returns:
        0, or 1 where the example comes out otherwise.
    """
    parser = _Parser(prog="scansuite verify", allow_abbrev=False)
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--trust", type=Path)
    args = parser.parse_args(list(argv))
    from tasks.exported.example import try_example
    from tasks.exported.model_file import model_of
    from tasks.exported.package import EXAMPLE, EXPECTED, SUFFIX, read_package
    from tasks.exported.package_layout import is_zip, refuse_pickle

    if not args.file.is_file():
        raise SuiteError(f"{args.file}: there is no such file")
    refuse_pickle(args.file)
    if not is_zip(args.file):
        raise SuiteError(f"{args.file}: is no model package ({SUFFIX}): only those have checksums and a signature")
    package = read_package(args.file, args.trust)
    print(f"{package.file}: is whole: {number_of(len(package.members), 'member')}, each as it was packed")
    print(package.said)
    one = package.description
    named = ", ".join(one.class_names[:8]) + (", ..." if len(one.class_names) > 8 else "")
    print(f"model: {one.name or 'without a name'}: {one.task} ({named}), {one.precision}")
    print(f"made: {one.made or 'not known when'}, by scansuite {one.suite or 'of an unknown version'}")
    checks = try_example(model_of(package), package.members[EXAMPLE], package.members[EXPECTED])
    wrong = [check for check in checks if not check.value <= check.tolerance]
    for check in checks:
        said = "differs by" if check in wrong else "is as expected: differs by"
        print(f"example: {check.name} {said} {check.value:.2g} of its largest value, allowed {check.tolerance:g}")
    if wrong:
        print("this machine computes something else: do not use the model here")
    return 1 if wrong else 0
