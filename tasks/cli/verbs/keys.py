"""``scansuite keys``: a pair of keys that signs model packages, and the public keys that are trusted here."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from scansuite.errors import SuiteError, nearest
from tasks.exported.signature import make_keys, read_public_key, trust_key, trusted_folder, trusted_keys

USAGE = """\
usage: scansuite keys [make PRIVATE.pem | trust PUBLIC.pem [--name NAME] | forget NAME]

Without a word it lists the public keys that you trust. A model package that one of them has signed is opened without a
warning.

  make PRIVATE.pem    make a pair of keys (Ed25519): PRIVATE.pem signs (export --key PRIVATE.pem) and is shown to
                      nobody; PRIVATE.public.pem goes to whoever opens your packages
  trust PUBLIC.pem    trust a public key; compare its fingerprint with its owner first, by telephone
  forget NAME         trust it no longer
  --name              of the owner; left out: the name of the file
"""
_WORDS = ("make", "trust", "forget")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SuiteError(f"keys: {message}: see scansuite keys --help")

    def print_help(self, file: object = None) -> None:
        print(USAGE, end="")


def run(argv: Sequence[str]) -> int:
    """Make, list, trust or forget keys.

    Args:
        argv: words behind ``scansuite keys``.

    Returns:
        0.
    """
    parser = _Parser(prog="scansuite keys", allow_abbrev=False)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--name")
    args = parser.parse_args(list(argv))
    word, *rest = args.words or ["list"]
    if word not in ("list", *_WORDS):
        raise SuiteError(f"keys {word}: {nearest(word, _WORDS)}")
    if word != "list" and len(rest) != 1:
        raise SuiteError(f"keys {word}: name one {'key' if word == 'forget' else 'file'}: see scansuite keys --help")
    if args.name is not None and word != "trust":
        raise SuiteError(f"--name {args.name}: is about scansuite keys trust: leave it out")
    {"make": _make, "trust": lambda file: _trust(file, args.name), "forget": _forget, "list": _list}[word](*rest[:1])
    return 0


def _make(name: str) -> None:
    public = make_keys(Path(name))
    print(f"{name}: signs, and is shown to nobody")
    print(f"{public}: for those who open what it signs; fingerprint {read_public_key(public).fingerprint}")


def _trust(file: str, name: str | None) -> None:
    own = Path(file).name.removesuffix(".pem").removesuffix(".public")
    key = trust_key(Path(file), name or own)
    print(f"{key.name.removesuffix('.pem')} is trusted: {key.fingerprint}")


def _forget(name: str) -> None:
    known = {key.name.removesuffix(".pem"): key for key in trusted_keys()}
    if name not in known:
        there = f": {nearest(name, known)}" if known else ", nor any other"
        raise SuiteError(f"keys forget {name}: no such key is trusted{there}")
    file = trusted_folder() / known[name].name
    try:
        file.unlink()
    except OSError as error:
        raise SuiteError(f"{file}: cannot be removed ({error.strerror or error})") from None
    print(f"{name} is no longer trusted")


def _list(*_: str) -> None:
    keys = trusted_keys()
    print(f"trusted keys in {trusted_folder()}: {len(keys) or 'none'}")
    for key in keys:
        print(f"  {key.fingerprint}  {key.name.removesuffix('.pem')}")
