"""Signatures of model packages: Ed25519 (RFC 8032) by the library ``cryptography``, and the keys that a user trusts."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scansuite.errors import SuiteError
from scansuite.files import replacing, safe_name

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

PASSWORD = "SCANSUITE_KEY_PASSWORD"  # environment variable: of an encrypted private key
NO_CRYPTOGRAPHY = "cryptography is missing: pip install 'scansuite[export]'"
_LEAD = b"scansuite model package 1\n"  # what is signed here is never what is signed elsewhere
_LARGEST_KEY = 2**16


@dataclass(frozen=True)
class PublicKey:
    """A public key.

    Attributes:
        raw: its 32 bytes.
        name: of its file, for people; empty where it came with a package.
    """

    raw: bytes
    name: str = ""

    @property
    def fingerprint(self) -> str:
        """Fingerprint as OpenSSH writes them: ``SHA256:`` and 43 characters, of the key's 32 bytes."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.raw).digest()).decode().rstrip("=")


def make_keys(private: Path) -> Path:
    """Make a pair of keys.

    Args:
        private: file of the private key (``NAME.pem``), which only its owner may read; it must not be there yet. The
            public key comes beside it as ``NAME.public.pem``.

    Returns:
        The file of the public key.

    Raises:
        SuiteError: one of the files is there already, or cannot be written.
    """
    serialization = _serialization(private)
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    public = private.with_name(f"{private.name.removesuffix('.pem')}.public.pem")
    if public.exists():
        raise SuiteError(f"{public}: is there already: choose another name, so that no key is lost")
    key = Ed25519PrivateKey.generate()
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        with os.fdopen(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(text)
    except FileExistsError:
        raise SuiteError(f"{private}: is there already: choose another name, so that no key is lost") from None
    except OSError as error:
        raise SuiteError(f"{private}: cannot be written ({error.strerror or error})") from None
    with replacing(public) as temporary:
        temporary.write_bytes(_pem(key.public_key()))
    return public


def read_private_key(file: Path) -> Ed25519PrivateKey:
    """The private key of a PEM file, as :func:`make_keys` or ``openssl genpkey -algorithm ed25519`` writes them.

    Raises:
        SuiteError: there is none, it is no such key, or it is encrypted and ``$SCANSUITE_KEY_PASSWORD`` does not open
            it.
    """
    serialization = _serialization(file)
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    password = os.environ.get(PASSWORD)
    content = _content(file)
    try:
        encrypted = b"ENCRYPTED" in content
        key = serialization.load_pem_private_key(
            content, password.encode() if password is not None and encrypted else None
        )
    except TypeError:
        raise SuiteError(f"{file}: the key is encrypted: give its password in ${PASSWORD}") from None
    except Exception:  # of OpenSSL's, a class for each kind of mistake
        more = f", or ${PASSWORD} is not its password" if encrypted else ""
        raise SuiteError(f"{file}: is no private key (PEM){more}: scansuite keys make FILE makes one") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise SuiteError(f"{file}: is no Ed25519 key: scansuite keys make FILE makes one")
    return key


def read_public_key(file: Path) -> PublicKey:
    """The public key of a PEM file.

    Raises:
        SuiteError: there is none, or it is no Ed25519 key.
    """
    serialization = _serialization(file)
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    content = _content(file)
    if b"PRIVATE KEY" in content:
        raise SuiteError(f"{file}: is a private key: give the public one, and show this one to nobody")
    try:
        key = serialization.load_pem_public_key(content)
    except Exception:  # of OpenSSL's, a class for each kind of mistake
        raise SuiteError(f"{file}: is no public key (PEM)") from None
    if not isinstance(key, Ed25519PublicKey):
        raise SuiteError(f"{file}: is no Ed25519 key: scansuite keys make FILE makes one")
    return PublicKey(key.public_bytes_raw(), file.name)


def sign(content: bytes, key: Ed25519PrivateKey) -> bytes:
    """``signature.json`` for the checksums of a package.

    Args:
        content: of ``checksums.json``.
        key: the signer's.
    """
    return _text(key.public_key().public_bytes_raw(), key.sign(_LEAD + content))


def signer(content: bytes, signature: bytes, where: str) -> PublicKey:
    """The key that has signed the checksums of a package.

    Args:
        content: of ``checksums.json``.
        signature: of ``signature.json``.
        where: the file, for messages.

    Raises:
        SuiteError: the signature is not one of this content, or cannot be read.
    """
    _serialization(Path(where))
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        plain = json.loads(signature)
        raw, given = bytes.fromhex(plain["public_key"]), bytes.fromhex(plain["signature"])
        same = signature == _text(raw, given)
        key = Ed25519PublicKey.from_public_bytes(raw)
    except (ValueError, KeyError, TypeError, RecursionError):
        same = False
    if not same:
        raise SuiteError(f"{where}: its signature cannot be read: it was changed, or is of a newer version")
    try:
        key.verify(given, _LEAD + content)
    except InvalidSignature:
        raise SuiteError(
            f"{where}: its signature is wrong: it was changed after it was signed, or the signature is of another "
            "package"
        ) from None
    return PublicKey(raw)


def trusted_folder() -> Path:
    """Folder of the trusted public keys: ``trusted`` in ``$SCANSUITE_CONFIG`` or the user's configuration folder."""
    from platformdirs import user_config_path

    return Path(os.environ.get("SCANSUITE_CONFIG") or user_config_path("scansuite")) / "trusted"


def trusted_keys() -> list[PublicKey]:
    """The public keys of :func:`trusted_folder`, by name.

    Raises:
        SuiteError: a file of it is no key.
    """
    folder = trusted_folder()
    if not folder.is_dir():
        return []
    return [read_public_key(file) for file in sorted(folder.glob("*.pem"))]


def trust_key(file: Path, name: str) -> PublicKey:
    """Put a public key among those that the user trusts.

    Args:
        file: of the key.
        name: of whom it is.

    Raises:
        SuiteError: it is no public key, or the name is taken by another one.
    """
    key = read_public_key(file)
    folder = trusted_folder()
    target = folder / f"{safe_name(name)}.pem"
    if target.is_file() and read_public_key(target).raw != key.raw:
        raise SuiteError(f"{target}: is another key of that name: remove it, or give another name")
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise SuiteError(f"{folder}: cannot be made ({error.strerror or error})") from None
    with replacing(target) as temporary:
        temporary.write_bytes(_pem_of(key.raw))
    return PublicKey(key.raw, target.name)


def _text(raw: bytes, given: bytes) -> bytes:
    plain = {"algorithm": "Ed25519", "public_key": raw.hex(), "signature": given.hex(), "version": 1}
    return (json.dumps(plain, indent=1) + "\n").encode("ascii")


def _pem_of(raw: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    return _pem(Ed25519PublicKey.from_public_bytes(raw))


def _pem(key: Ed25519PublicKey) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _serialization(where: Path) -> Any:
    try:
        from cryptography.hazmat.primitives import serialization
    except ImportError:
        raise SuiteError(f"{where}: {NO_CRYPTOGRAPHY}") from None
    return serialization


def _content(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            content = stream.read(_LARGEST_KEY + 1)
    except OSError as error:
        raise SuiteError(f"{file}: the key cannot be read ({error.strerror or error})") from None
    if len(content) > _LARGEST_KEY or not re.search(rb"-----BEGIN [A-Z ]+-----", content):
        raise SuiteError(f"{file}: is no key in PEM: it does not say -----BEGIN ...")
    return content
