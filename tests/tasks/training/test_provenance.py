"""Keyed hashes of what a model has seen: when they meet, what they give away, and how they pass on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backbones.catalogue import licence_of_weights
from backbones.records import read_record
from backbones.weights import extract_weights
from datamodules.base import ScanDataModule
from datamodules.cases.ids import clean_id
from datamodules.cases.table import CaseTable
from datamodules.readers.dicom.identity import hashed, key
from scansuite.errors import SuiteError
from tasks.training.provenance import (
    UNKNOWN,
    Lineage,
    Provenance,
    Seen,
    joined,
    keyed,
    overlap,
    part_of,
    provenance_of,
    provenance_of_split,
)

NAMES = st.integers(0, 9).map(str)
# Case, patient or none, contents of its images.
CASES = st.lists(
    st.tuples(NAMES, st.none() | NAMES, st.lists(NAMES, min_size=1, max_size=3)),
    max_size=6,
    unique_by=lambda one: one[0],
)


@pytest.fixture
def other_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Call it to become another user."""

    def become(name: str) -> None:
        monkeypatch.setenv("SCANSUITE_CONFIG", str(tmp_path / name))
        key.cache_clear()

    yield become
    monkeypatch.undo()
    key.cache_clear()


def data_of(cases: Sequence[tuple[str, str | None, list[str]]], parts: list[str]) -> ScanDataModule:
    """A data module as far as hashes are concerned."""
    frame = pd.DataFrame(
        {
            "case_id": pd.Series([case for case, _, _ in cases], dtype="str"),
            "patient_id": pd.Series([patient for _, patient, _ in cases], dtype="str"),
            "split": pd.Series(parts, dtype="str"),
        }
    )
    owners = [number for number, (_, _, images) in enumerate(cases) for _ in images]
    table = CaseTable(frame, pd.DataFrame({"case": np.array(owners, np.int64)}))
    contents = [f"content {image}" for _, _, images in cases for image in images]
    rows = {part: np.flatnonzero(frame["split"] == part) for part in ("train", "val", "test")}
    return cast("ScanDataModule", SimpleNamespace(table=table, contents=contents, rows=rows.__getitem__))


@settings(deadline=None, max_examples=200)
@given(trained=CASES, chosen=CASES, evaluated=CASES)
def test_cases_are_refused_exactly_where_the_sets_meet(trained: Any, chosen: Any, evaluated: Any) -> None:
    ran = data_of([*trained, *chosen], ["train"] * len(trained) + ["val"] * len(chosen))
    record = Provenance.from_plain(provenance_of(ran).to_plain())
    data = data_of(evaluated, ["test"] * len(evaluated))
    part = part_of(data, data.rows("test"))

    def things(cases: Any) -> set[tuple[str, str]]:
        found = {("case", case) for case, _, _ in cases} | {("patient", patient) for _, patient, _ in cases if patient}
        return found | {("image", image) for _, _, images in cases for image in images}

    for split, seen in (("val", things(trained)), ("test", things(trained) | things(chosen))):
        shared = overlap(part, record, split)
        assert shared.any.tolist() == [bool(things([case]) & seen) for case in evaluated]
        for kind, flags in shared.by_kind.items():
            short = {"case_id": "case"}.get(kind, kind)
            of_kind = {thing for thing in seen if thing[0] == short}
            assert flags.tolist() == [bool(things([case]) & of_kind) for case in evaluated]


@given(names=st.sets(st.text(min_size=1), min_size=1, max_size=20))
@settings(deadline=None, max_examples=50)
def test_hashes_tell_names_and_kinds_apart(names: set[str]) -> None:
    clean = sorted({clean_id(name) for name in names})
    assert len(np.unique(keyed("case_id", clean))) == len(clean)
    assert not np.intersect1d(keyed("case_id", clean), keyed("patient", clean)).size


def test_spaces_and_unicode_forms_do_not_count() -> None:
    assert keyed("patient", ["M\u00fcller"]) == keyed("patient", [" Mu\u0308ller\n"])


def test_a_patient_of_a_header_is_known_again_in_a_table() -> None:
    plain, header = (data_of([(name, name, [name])], ["train"]) for name in ("P 1", hashed("P 1")))
    assert (part_of(plain, plain.rows("train")).patient[0] == part_of(header, header.rows("train")).patient[0]).all()


def test_two_keys_have_no_hash_in_common(other_key: Any) -> None:
    data = data_of([(str(case), f"p{case}", [str(case)]) for case in range(200)], ["train"] * 100 + ["val"] * 100)
    records = []
    for name in ("one", "two"):
        other_key(name)
        records.append(provenance_of(data))
    ours, theirs = (next(iter(record.lineages.values())) for record in records)
    assert set(records[0].lineages).isdisjoint(records[1].lineages)
    for mine, its in zip((*ours.trained, *ours.chosen), (*theirs.trained, *theirs.chosen), strict=True):
        assert len(mine) == len(its) == 100
        assert not np.intersect1d(mine, its).size
    assert records[1].doubt is None
    assert "another user" in str(records[0].doubt)
    assert not overlap(part_of(data, data.rows("train")), records[0], "test").any.any()
    # A child of both knows what is this user's, and that there is more.
    child = joined(*records)
    assert "another user" in str(child.doubt)
    assert overlap(part_of(data, data.rows("train")), child, "test").any.all()


def leaves(value: Any) -> Iterator[Any]:
    """Everything in plain values, keys of dictionaries too."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from leaves(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from leaves(inner)
    else:
        yield value


def test_the_record_holds_numbers_and_nothing_of_whom() -> None:
    cases = [(f"case {number}", f"patient {number}", [f"{number:032x}"]) for number in range(50)]
    found = list(leaves(provenance_of(data_of(cases, ["train"] * 30 + ["val"] * 20)).to_plain()))
    tensors = [value for value in found if isinstance(value, torch.Tensor)]
    assert [len(tensor) for tensor in tensors] == [30] * 3 + [20] * 3
    for tensor in tensors:
        assert tensor.dtype == torch.int64
        assert (tensor.diff() > 0).all(), "their order would tell who stood where in the table"
    words = {value for value in found if not isinstance(value, torch.Tensor)}
    user = next(iter(provenance_of(data_of(cases, ["train"] * 50)).lineages))
    assert words == {"whole", True, "lineages", user, "trained", "chosen", "case_id", "patient", "image"}


@given(
    first=st.lists(st.integers(-5, 5)),
    second=st.lists(st.integers(-5, 5)),
    whole=st.tuples(st.booleans(), st.booleans()),
)
def test_records_join_as_sets_do(first: list[int], second: list[int], whole: tuple[bool, bool]) -> None:
    def record(values: list[int], complete: bool) -> Provenance:
        return Provenance({"u": Lineage(Seen(np.unique(np.array(values, np.int64))))}, complete)

    one, two = record(first, whole[0]), record(second, whole[1])
    for child in (joined(one, two), joined(two, None, one), joined(one, two, one)):
        assert child.lineages["u"].trained.case_id.tolist() == sorted({*first, *second})
        assert child.whole == all(whole)
    assert joined().doubt is None
    assert joined(UNKNOWN).doubt is not None


def test_an_old_run_is_known_by_its_split() -> None:
    split = pd.DataFrame(
        {"case_id": ["a", "b", "c"], "patient_id": ["1", None, "3"], "split": ["train", "val", "test"]}
    )
    record = provenance_of_split(split)
    data = data_of([("a", None, ["x"]), ("d", "1", ["x"]), ("b", None, ["x"]), ("c", "3", ["x"])], ["test"] * 4)
    part = part_of(data, data.rows("test"))
    assert overlap(part, record, "test").any.tolist() == [True, True, True, False]
    assert overlap(part, record, "val").any.tolist() == [True, True, False, False]


@pytest.mark.parametrize("damaged", [None, 5, {}, {"lineages": {"u": {}}, "whole": True}, {"lineages": 3, "whole": 1}])
def test_a_damaged_record_is_named(damaged: Any) -> None:
    with pytest.raises(SuiteError, match="its record of the cases"):
        Provenance.from_plain(damaged)


@pytest.mark.parametrize("name", ["out.pth", "out.safetensors"])
def test_extracted_weights_carry_the_record_and_load_into_plain_timm(tmp_path: Path, name: str) -> None:
    net = timm.create_model("test_resnet", num_classes=0)
    record = provenance_of(data_of([("a", "p", ["x"]), ("b", "q", ["y"])], ["train", "val"]))
    state = {f"backbone.{entry}": tensor for entry, tensor in net.state_dict().items()}
    made = {"task": "classify", "provenance": record.to_plain()}
    for scansuite in (made, {"task": "classify"}, {"task": "classify", "weights_licence": "mit"}):
        torch.save({"state_dict": state, "scansuite": scansuite}, tmp_path / "best.ckpt")
        extract_weights(tmp_path / "best.ckpt", tmp_path / name)
        loaded = timm.models.load_state_dict(str(tmp_path / name), weights_only=True)
        net.load_state_dict(loaded)
        found = read_record(tmp_path / name)
        assert licence_of_weights("test_resnet", str(tmp_path / name)) == scansuite.get("weights_licence")
        if scansuite is not made:
            assert found is None
        else:
            np.testing.assert_equal(Provenance.from_plain(found).mine, record.mine)
