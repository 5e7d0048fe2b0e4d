"""``scansuite clean``: what the caches hold, and its removal where that is asked for."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from datamodules.caching.kept import KINDS, MEANING, Kept, kept_in, remove
from datamodules.settings import default_cache_dir
from scansuite.errors import SuiteError, nearest

USAGE = """\
usage: scansuite clean [{kinds}] [--cache_dir DIR] [--yes]

Says what the caches hold. Nothing is removed but with --yes, or where you say so on a terminal; then what is named, or
all of it. What a running training uses stays, and run folders are no caches: they are never touched.

{meaning}

  --cache_dir  folder of the caches; left out: $SCANSUITE_CACHE, or the user's cache folder
  --yes        remove without asking
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SuiteError(f"clean: {message}: see scansuite clean --help")

    def print_help(self, file: object = None) -> None:
        meaning = "\n".join(f"  {kind:<11}{text}" for kind, text in MEANING.items())
        print(USAGE.format(kinds="|".join(KINDS), meaning=meaning), end="")


def run(argv: Sequence[str]) -> int:
    """Show what is in the caches, and remove it.

    Args:
        argv: words behind ``scansuite clean``.

    Returns:
        0, or 1 where something could not be removed.
    """
    parser = _Parser(prog="scansuite clean", allow_abbrev=False)
    parser.add_argument("kinds", nargs="*")
    parser.add_argument("--cache_dir", type=Path)
    parser.add_argument("--yes", action="store_true")
    args = parser.parse_args(list(argv))
    for kind in args.kinds:
        if kind not in KINDS:
            raise SuiteError(f"clean {kind}: no kind of cache: {nearest(kind, KINDS)}")
    folder = args.cache_dir or default_cache_dir()
    if args.cache_dir is not None and not folder.is_dir():
        raise SuiteError(f"--cache_dir {folder}: no such folder")
    found = [one for one in kept_in(folder) if not args.kinds or one.kind in args.kinds]
    _show(folder, found)
    there = [one for one in found if not one.trouble]
    if not there:
        return 0
    if not args.yes and not _agreed():
        return 0
    return _remove(there)


def _show(folder: Path, found: Sequence[Kept]) -> None:
    print(f"caches in {folder}: {in_words(sum(one.size for one in found))}")
    for kind in KINDS:
        ours = [one for one in found if one.kind == kind and not one.trouble]
        if ours:
            files = sum(one.files for one in ours)
            print(f"  {kind:<11}{in_words(sum(one.size for one in ours)):>10}  {files} files: {MEANING[kind]}")
    for one in found:
        if one.trouble:
            print(f"  {one.path}: {one.trouble}: it stays")


def _agreed() -> bool:
    """Whether somebody at a terminal says so."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        print("nothing was removed: --yes removes it")
        return False
    try:
        said = input("remove all of this? [y/N] ")
    except EOFError:
        said = ""
    if said.strip().lower() not in ("y", "yes"):
        print("nothing was removed")
        return False
    return True


def _remove(there: Sequence[Kept]) -> int:
    gone, stays = 0, []
    for one in there:
        why = remove(one)
        if why:
            stays.append((one, why))
        else:
            gone += one.size
    print(f"removed {in_words(gone)}")
    for one, why in stays:
        print(f"{one.path}: {why}: it stays", file=sys.stderr)
    return 1 if any(why != "in use" for _, why in stays) else 0


def in_words(size: int) -> str:
    """A number of bytes for people."""
    for unit, of in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= of:
            return f"{size / of:.1f} {unit}"
    return f"{size} bytes"
