"""Packing of a model: an ONNX file, its model card, licences, an example, checksums and a signature as one file."""

from __future__ import annotations

import logging
from importlib import metadata
from pathlib import Path

from scansuite.errors import SuiteError
from scansuite.files import replacing
from tasks.exported.card import card_of
from tasks.exported.description import Description
from tasks.exported.example import drawn_example, expected_of, given_example, to_npy
from tasks.exported.model_file import ExportedModel
from tasks.exported.package import (
    CARD,
    CHECKSUMS,
    DESCRIPTION,
    EXAMPLE,
    EXPECTED,
    LICENCES,
    MODEL,
    SIGNATURE,
    SUFFIX,
    checksums_of,
)
from tasks.exported.package_layout import LARGEST, pieces, refuse_pickle
from tasks.exported.signature import read_private_key, sign

log = logging.getLogger(__name__)

_SUITE_LICENCE = (
    "scansuite, which made and runs this model, is licensed under the Apache License, Version 2.0:\n"
    "https://www.apache.org/licenses/LICENSE-2.0\n"
)


def write_package(
    output: Path,
    onnx_file: Path,
    *,
    run_dir: Path | None = None,
    key: Path | None = None,
    example: Path | None = None,
) -> Path:
    """Write a model package: the same input gives the same bytes.

    Args:
        output: to be written, ``NAME.scansuite``.
        onnx_file: as the suite exports them.
        run_dir: folder of the run, for its model card; left out: the card says what the model says of itself.
        key: private key (PEM) that signs it; left out: it is not signed.
        example: an image whose values stand in the package; left out: one is drawn.

    Returns:
        ``output``.

    Raises:
        SuiteError: a file cannot be read or written, is not what it should be, or the model does not take the example.
    """
    if output.suffix != SUFFIX:
        raise SuiteError(f"--output {output}: a model package has the suffix {SUFFIX}")
    signing = None if key is None else read_private_key(key)
    members = package_members(onnx_file, run_dir, example)
    members[CHECKSUMS] = checksums_of(members)
    if signing is not None:
        members[SIGNATURE] = sign(members[CHECKSUMS], signing)
    if sum(map(len, members.values())) > LARGEST - 2**20:
        raise SuiteError(f"{onnx_file}: is too large for a model package, which has at most {LARGEST} bytes")
    with replacing(output) as temporary, temporary.open("wb") as stream:
        stream.writelines(pieces(members))
    return output


def package_members(onnx_file: Path, run_dir: Path | None = None, example: Path | None = None) -> dict[str, bytes]:
    """The members of a package but checksums and signature; see :func:`write_package`."""
    if not onnx_file.is_file():
        raise SuiteError(f"{onnx_file}: there is no such file")
    refuse_pickle(onnx_file)
    content = onnx_file.read_bytes()
    model = ExportedModel(content, str(onnx_file), threads=1)  # one thread: sums are always in one order
    description = model.description
    if example is None:
        array = drawn_example(description)
    else:
        array = given_example(example)
        log.warning("--example %s: its values go into the package: make sure that nobody is known by them", example)
    return {
        CARD: card_of(description, run_dir).encode("utf-8"),
        DESCRIPTION: description.to_json().encode("utf-8"),
        f"{LICENCES}scansuite.txt": suite_licence().encode("utf-8"),
        f"{LICENCES}weights.txt": weights_licence(description).encode("utf-8"),
        EXAMPLE: to_npy(array),
        EXPECTED: expected_of(model, array),
        MODEL: content,
    }


def weights_licence(description: Description) -> str:
    """What is known of the licence of the weights that training began with, as text."""
    if description.weights is None:
        return "The weights were trained from scratch: no licence of others is on them.\n"
    licence = description.licence or "not known: find out before you hand the model on"
    return f"Training began with weights of others: {description.weights}\nTheir licence: {licence}\n"


def suite_licence() -> str:
    """The suite's own licence, whole where the installation has it."""
    try:
        files = metadata.files("scansuite") or []
    except metadata.PackageNotFoundError:
        files = []
    found = next((file for file in files if file.name == "LICENSE"), None)
    text = None if found is None else Path(str(found.locate())).read_text(encoding="utf-8")
    return _SUITE_LICENCE if text is None else f"{_SUITE_LICENCE}\n{text}"
