"""Provenance: keyed hashes of the cases a model was trained and chosen on, to see whether it is evaluated on them.

A hash is the first 8 bytes of HMAC-SHA256 (RFC 2104) with a key that follows from the user's own
(:func:`~datamodules.readers.dicom.identity.key`), over the kind of thing and its name; without the key nobody can tell
whether a known case, patient or image is among them. Of a million hashes against a million others the chance that any
two agree by accident is 5 in 10^8.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from datamodules.base import ScanDataModule
from datamodules.cases.ids import clean_id
from datamodules.readers.dicom.identity import hashed, key
from scansuite.errors import SuiteError

Hashes: TypeAlias = NDArray[np.int64]

# Kinds of things that are compared, and how messages call one that is shared.
KINDS = {"case_id": "case id", "patient": "patient", "image": "identical image"}
_NONE: Hashes = np.empty(0, np.int64)
_KEYED = re.compile(r"p[0-9a-f]{16}")


def secret() -> bytes:
    """The key of these hashes: it follows from the user's, and does not give it away.

    Raises:
        SuiteError: the user's key can neither be read nor made.
    """
    return hmac.digest(key(), b"scansuite provenance", "sha256")


def fingerprint() -> str:
    """Fingerprint that tells this user's hashes from those of others.

    Raises:
        SuiteError: the user's key can neither be read nor made.
    """
    return hmac.digest(secret(), b"fingerprint", "sha256")[:8].hex()


def keyed(kind: str, names: Iterable[str]) -> Hashes:
    """(N,) the hash of each name, of a kind of :data:`KINDS`; how a name was typed does not count."""
    mine, lead = secret(), f"{kind}\0"
    digests = (
        hmac.digest(mine, (lead + clean_id(name)).encode("utf-8", "surrogatepass"), "sha256")[:8] for name in names
    )
    return np.frombuffer(b"".join(digests), "<i8").astype(np.int64)


def _patient(name: str) -> str:
    """A patient as DICOM headers give it, so that the id in a table is known again in one, and the other way round."""
    return name if _KEYED.fullmatch(name) else hashed(name)


class Seen(NamedTuple):
    """Sorted hashes of each kind, each once."""

    case_id: Hashes = _NONE
    patient: Hashes = _NONE
    image: Hashes = _NONE

    def __or__(self, other: Seen) -> Seen:
        return Seen(*(np.union1d(ours, theirs) for ours, theirs in zip(self, other, strict=True)))


class Lineage(NamedTuple):
    """Cases that a model and its ancestors have seen.

    Attributes:
        trained: of the cases whose labels trained one of them.
        chosen: of the cases that chose an epoch, an operating point or anything else of one of them.
    """

    trained: Seen = Seen()
    chosen: Seen = Seen()

    def __or__(self, other: Lineage) -> Lineage:
        return Lineage(self.trained | other.trained, self.chosen | other.chosen)


@dataclass(frozen=True)
class Provenance:
    """Record of the cases that a model has seen.

    Attributes:
        lineages: by the :func:`fingerprint` of the user who trained; an ancestor may be another user's.
        whole: no ancestor is without a record.
    """

    lineages: Mapping[str, Lineage] = field(default_factory=dict)
    whole: bool = True

    def __or__(self, other: Provenance) -> Provenance:
        users = dict.fromkeys((*self.lineages, *other.lineages))
        found = {user: self._of(user) | other._of(user) for user in users}
        return Provenance(found, self.whole and other.whole)

    def _of(self, user: str) -> Lineage:
        return self.lineages.get(user, Lineage())

    @property
    def mine(self) -> Lineage:
        """Lineage that this user can compare with."""
        return self._of(fingerprint()) if self.lineages else Lineage()

    @property
    def doubt(self) -> str | None:
        """Why not all that was seen can be compared with; None where it can."""
        if set(self.lineages) - ({fingerprint()} if self.lineages else set()):
            return "was trained by another user, whose hashes have another key"
        return None if self.whole else "does not say all that it was trained on"

    def to_plain(self) -> dict[str, Any]:
        """Plain values and int64 tensors, for a checkpoint."""
        lineages = {
            user: {
                part: {kind: torch.from_numpy(hashes.copy()) for kind, hashes in seen._asdict().items()}
                for part, seen in lineage._asdict().items()
            }
            for user, lineage in self.lineages.items()
        }
        return {"whole": self.whole, "lineages": lineages}

    @classmethod
    def from_plain(cls, plain: Any) -> Provenance:
        """Undo :meth:`to_plain`.

        Raises:
            SuiteError: it is nothing that :meth:`to_plain` gives.
        """
        try:
            lineages = {
                str(user): Lineage(*(Seen(*(_hashes(parts[part][kind]) for kind in KINDS)) for part in Lineage._fields))
                for user, parts in plain["lineages"].items()
            }
            return cls(lineages, bool(plain["whole"]))
        except (AttributeError, KeyError, TypeError, ValueError):
            raise SuiteError("its record of the cases that it has seen is damaged") from None


def _hashes(tensor: torch.Tensor) -> Hashes:
    return np.unique(tensor.numpy().astype(np.int64, casting="safe"))


UNKNOWN = Provenance(whole=False)


def joined(*records: Provenance | None) -> Provenance:
    """Cases that all of these have seen together; None is nothing."""
    return reduce(Provenance.__or__, [record for record in records if record is not None], Provenance())


class Part(NamedTuple):
    """Hashes of some cases of a table, case by case.

    Attributes:
        names: (N,) their ids as they stand.
        case_id: (N,) hashes.
        patient: (P,) hashes of the patients that are known, and the case (0..N-1) of each.
        image: (M,) hashes, and the case of each.
    """

    names: NDArray[Any]
    case_id: Hashes
    patient: tuple[Hashes, NDArray[np.int64]]
    image: tuple[Hashes, NDArray[np.int64]]

    @property
    def seen(self) -> Seen:
        """Record of a model that trains on these cases."""
        return Seen(np.unique(self.case_id), np.unique(self.patient[0]), np.unique(self.image[0]))

    def shared(self, seen: Seen) -> dict[str, NDArray[np.bool_]]:
        """Shared properties by kind: (N,) whether a case shares something of it with what a model has seen."""
        found = {"case_id": np.isin(self.case_id, seen.case_id)}
        for kind, (hashes, owners) in (("patient", self.patient), ("image", self.image)):
            found[kind] = np.zeros(len(self.names), np.bool_)
            found[kind][owners[np.isin(hashes, getattr(seen, kind))]] = True
        return found


def part_of(data: ScanDataModule, rows: NDArray[np.int64], *, without: Sequence[str] = ()) -> Part:
    """The hashes of cases.

    Args:
        data: with the table.
        rows: (N,) of the cases.
        without: content hashes of images that are left out.
    """
    cases = data.table.cases.iloc[rows]
    patients = cases["patient_id"].to_numpy(dtype=object)
    known = np.flatnonzero(~pd.isna(patients))
    place = np.full(len(data.table), -1, np.int64)
    place[rows] = np.arange(len(rows))
    owners = place[data.table.images["case"].to_numpy()]
    contents = np.asarray(data.contents, dtype=object)
    owners = owners[: len(contents)]  # none of them where no file was looked at
    taken = np.flatnonzero((owners >= 0) & ~np.isin(contents, np.asarray(without, dtype=object)))
    names = cases["case_id"].to_numpy(dtype=object)
    return Part(
        names,
        keyed("case_id", names),
        (_patients([str(patients[case]) for case in known]), known),
        (_each("image", contents[taken]), owners[taken]),
    )


def _each(kind: str, names: Sequence[str] | NDArray[Any]) -> Hashes:
    """As :func:`keyed`, for names of which many are the same."""
    numbers, distinct = pd.factorize(np.asarray(names, dtype=object))
    return keyed(kind, distinct)[numbers] if len(distinct) else _NONE


def _patients(names: Sequence[str]) -> Hashes:
    """(N,) the hash of each patient; a million images have few of them."""
    hidden = {name: _patient(clean_id(name)) for name in set(names)}
    return _each("patient", [hidden[name] for name in names])


def provenance_of(data: ScanDataModule, *, trains: bool = True) -> Provenance:
    """Record of a run on these data.

    Args:
        data: with train and validation parts.
        trains: False where nothing is trained, and validation chooses all the same.
    """
    trained = part_of(data, data.rows("train")).seen if trains else Seen()
    return Provenance({fingerprint(): Lineage(trained, part_of(data, data.rows("val")).seen)})


def provenance_of_split(split: pd.DataFrame) -> Provenance:
    """Record of a run by its ``split.csv``: nothing is known of its images."""

    def seen(part: str) -> Seen:
        cases = split[split["split"] == part]
        patients = cases.get("patient_id", pd.Series(dtype="str")).dropna()
        names = _patients([str(name) for name in patients])
        return Seen(np.unique(keyed("case_id", map(str, cases["case_id"]))), np.unique(names))

    return Provenance({fingerprint(): Lineage(seen("train"), seen("val"))})


class Overlap(NamedTuple):
    """Cases to be evaluated that a model has seen.

    Attributes:
        any: (N,) whether a case shares anything.
        by_kind: (N,) for each of :data:`KINDS`.
    """

    any: NDArray[np.bool_]
    by_kind: dict[str, NDArray[np.bool_]]

    def __or__(self, other: Overlap) -> Overlap:
        by_kind = {kind: self.by_kind[kind] | other.by_kind[kind] for kind in KINDS}
        return Overlap(self.any | other.any, by_kind)


def overlap(part: Part, record: Provenance, split: str) -> Overlap:
    """Find the cases that must not be evaluated.

    Args:
        part: to be evaluated.
        record: of the model.
        split: as what: cases of ``test`` must neither have trained it nor chosen anything of it; those of ``val`` must
            not have trained it.
    """
    lineage = record.mine
    shared = part.shared(lineage.trained | lineage.chosen if split == "test" else lineage.trained)
    return Overlap(np.logical_or.reduce(list(shared.values())), shared)
