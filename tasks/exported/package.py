"""Model package: one file with a model and all that belongs to it, each byte of it under a checksum, and signed.

It holds ``model.onnx``, ``description.json`` (what the model says of itself), ``MODEL_CARD.md``, ``LICENSES/``,
``example/`` (an input and what the model makes of it), ``checksums.json`` (SHA-256 of each of these) and, where it is
signed, ``signature.json`` (Ed25519, of the checksums).
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scansuite.errors import SuiteError
from tasks.exported.description import Description
from tasks.exported.package_layout import read_members
from tasks.exported.signature import NO_CRYPTOGRAPHY, PublicKey, read_public_key, signer, trusted_keys

log = logging.getLogger(__name__)

SUFFIX = ".scansuite"
MODEL = "model.onnx"
DESCRIPTION = "description.json"
CARD = "MODEL_CARD.md"
CHECKSUMS = "checksums.json"
SIGNATURE = "signature.json"
EXAMPLE = "example/input.npy"
EXPECTED = "example/expected.json"
LICENCES = "LICENSES/"
_NEEDED = (MODEL, DESCRIPTION, CARD, EXAMPLE, EXPECTED, CHECKSUMS)
_LICENCE = re.compile(r"LICENSES/[A-Za-z0-9][A-Za-z0-9._-]{0,80}\.txt")
_LARGEST = {CHECKSUMS: 2**18, SIGNATURE: 2**12, DESCRIPTION: 2**26, EXPECTED: 2**24, EXAMPLE: 2**28, CARD: 2**24}
_LARGEST_OTHER = 2**22  # licences
_TRUST_FLAG = "--trust"


@dataclass(frozen=True, eq=False)
class Package:
    """A package whose bytes are those that its maker has packed.

    Attributes:
        file: that it was read from.
        members: contents by name.
        description: of the model.
        signer: whose signature it bears; None: it is not signed, or the signature could not be looked at.
        trusted: the signer is among those whom the user trusts.
        said: who has signed it, in words.
    """

    file: Path
    members: Mapping[str, bytes]
    description: Description
    signer: PublicKey | None
    trusted: bool
    said: str


def read_package(file: Path, trust: Path | None = None) -> Package:
    """Read a package and check each byte of it, and its signature.

    Args:
        file: the package.
        trust: a public key (PEM), whose signature it must bear; left out: any package is read, and :attr:`Package.said`
            tells whose it is.

    Raises:
        SuiteError: it is none, a member is missing, unknown, too large or was changed, its signature is wrong, or not
            of the key in ``trust``.
    """
    members = read_members(file, (MODEL, CHECKSUMS))
    _check_names(file, members)
    listed = members[CHECKSUMS]
    _check_sums(file, members)
    who, trusted, said = _signed(file, listed, members.get(SIGNATURE), trust)
    try:
        text = members[DESCRIPTION].decode("utf-8")
    except UnicodeDecodeError:
        raise SuiteError(f"{file}: {DESCRIPTION} is no text") from None
    return Package(file, members, Description.from_json(text, f"{file}: {DESCRIPTION}"), who, trusted, said)


def checksums_of(members: Mapping[str, bytes]) -> bytes:
    """``checksums.json`` for members: the SHA-256 of each but itself and the signature, by name."""
    sums = {
        name: hashlib.sha256(content).hexdigest()
        for name, content in sorted(members.items())
        if name not in (CHECKSUMS, SIGNATURE)
    }
    return (json.dumps({"sha256": sums, "version": 1}, indent=1) + "\n").encode("ascii")


def refuse_unsigned(file: Path, trust: Path | None) -> None:
    """Refuse a plain ONNX file where a signature is asked for.

    Raises:
        SuiteError: it is.
    """
    if trust is not None:
        raise SuiteError(f"{_TRUST_FLAG} {trust}: {file} is a plain ONNX file, which bears no signature: pack it")


def _check_names(file: Path, members: Mapping[str, bytes]) -> None:
    missing = [name for name in _NEEDED if name not in members]
    if not any(_LICENCE.fullmatch(name) for name in members):
        missing.append(LICENCES)
    if missing:
        raise SuiteError(f"{file}: {', '.join(missing)} is missing in it: get the package again from whoever made it")
    for name, content in members.items():
        if name not in (*_NEEDED, SIGNATURE) and not _LICENCE.fullmatch(name):
            raise SuiteError(f"{file}: has a member that no model package has: {ascii(name)[1:-1][:80]}")
        if name != MODEL and len(content) > _LARGEST.get(name, _LARGEST_OTHER):
            raise SuiteError(f"{file}: its member {name} is too large ({len(content)} bytes)")


def _check_sums(file: Path, members: Mapping[str, bytes]) -> None:
    given = members[CHECKSUMS]
    if given == checksums_of(members):
        return
    try:
        sums = json.loads(given)["sha256"]
        changed = [
            name
            for name, content in members.items()
            if name not in (CHECKSUMS, SIGNATURE) and sums.get(name) != hashlib.sha256(content).hexdigest()
        ]
        changed = changed or sorted(set(sums) - set(members))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        changed = []
    what = ", ".join(ascii(str(name))[1:-1][:80] for name in changed[:3]) or CHECKSUMS
    raise SuiteError(f"{file}: {what} was changed after it was packed: its checksum is another one")


def _signed(
    file: Path, listed: bytes, signature: bytes | None, trust: Path | None
) -> tuple[PublicKey | None, bool, str]:
    """Who has signed, whether the user trusts them, and both in words."""
    wanted = None if trust is None else read_public_key(trust)
    if signature is None:
        if wanted is not None:
            raise SuiteError(f"{_TRUST_FLAG} {trust}: {file} is not signed")
        return None, False, "is not signed: who made it, and whether it was changed since, is not known"
    try:
        who = signer(listed, signature, str(file))
    except SuiteError as error:
        if wanted is None and NO_CRYPTOGRAPHY in str(error):
            return None, False, f"is signed, but the signature was not looked at: {NO_CRYPTOGRAPHY}"
        raise
    if wanted is not None:
        if who.raw != wanted.raw:
            raise SuiteError(
                f"{_TRUST_FLAG} {trust}: {file} is signed by another key ({who.fingerprint}) than this one "
                f"({wanted.fingerprint})"
            )
        return who, True, f"is signed by {wanted.name} ({who.fingerprint})"
    for key in trusted_keys():
        if key.raw == who.raw:
            return who, True, f"is signed by {key.name.removesuffix('.pem')} ({who.fingerprint}), whom you trust"
    return who, False, f"is signed by {who.fingerprint}, which is not among the keys that you trust: scansuite keys"


def say(package: Package) -> None:
    """Log who has signed a package, as a warning where the user does not trust them."""
    log.log(logging.INFO if package.trusted else logging.WARNING, "%s: %s", package.file, package.said)
