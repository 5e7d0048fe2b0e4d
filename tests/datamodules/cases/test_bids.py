"""Names and tables of BIDS: what a file is called by, who is who, and what is left out."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamodules.cases.bids import (
    BidsName,
    bids_name,
    case_rows,
    images_of,
    is_bids,
    subject_files,
    table_columns,
    with_ending,
)
from datamodules.readers.patterns import FilePatterns
from scansuite.errors import SuiteError


def named(path: str) -> BidsName:
    found = bids_name(path)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("path", "source", "ending", "source_suffix"),
    [
        ("sub-01/anat/sub-01_T1w.nii.gz", {"sub": "01"}, "T1w", None),
        ("sub-01_ses-2_acq-x_run-1_T1w.nii", {"sub": "01", "ses": "2", "acq": "x", "run": "1"}, "T1w", None),
        ("sub-01_label-lesion_mask.nii.gz", {"sub": "01"}, "label-lesion_mask", None),
        ("sub-01_space-orig_desc-manual_dseg.nii.gz", {"sub": "01"}, "space-orig_desc-manual_dseg", None),
        ("sub-m1_sample-A_stain-x_SEM.ome.tif", {"sub": "m1", "sample": "A", "stain": "x"}, "SEM", None),
        ("sub-01_T2w_label-SC_seg.nii.gz", {"sub": "01"}, "label-SC_seg", "T2w"),  # as older tools write it
        ("sub-01_T2w_lesion-manual.nii.gz", {"sub": "01"}, "lesion-manual", "T2w"),
    ],
)
def test_names_are_taken_apart(path: str, source: dict[str, str], ending: str, source_suffix: str | None) -> None:
    found = named(path)
    assert (found.source, found.ending, found.source_suffix) == (source, ending, source_suffix)


@pytest.mark.parametrize("path", ["README.nii", "T1w.nii.gz", "ses-1_T1w.nii.gz", "sub-01.nii.gz", "sub-_T1w.nii.gz"])
def test_other_names_are_none(path: str) -> None:
    assert bids_name(path) is None


_LABEL = st.text("abcXYZ0129", min_size=1, max_size=4)


@given(
    st.dictionaries(st.sampled_from(["ses", "acq", "run", "sample"]), _LABEL),
    st.dictionaries(st.sampled_from(["space", "label", "desc"]), _LABEL),
    _LABEL,
    st.sampled_from(["T1w", "mask", "dseg"]),
)
def test_a_name_keeps_all_its_parts(source: dict[str, str], derived: dict[str, str], sub: str, suffix: str) -> None:
    parts = [f"{key}-{value}" for key, value in {"sub": sub, **source, **derived}.items()]
    found = named(f"x/{'_'.join([*parts, suffix])}.nii.gz")
    assert (found.source, found.derived, found.suffix) == ({"sub": sub, **source}, derived, suffix)
    assert found.may_be_of(named(f"{'_'.join([f'sub-{sub}', *(f'{k}-{v}' for k, v in source.items())])}_T1w.nii"))


@pytest.mark.parametrize(
    ("mask", "image", "belongs"),
    [
        ("sub-01_dseg.nii.gz", "sub-01_T1w.nii.gz", True),
        ("sub-01_dseg.nii.gz", "sub-01_run-2_T1w.nii.gz", True),
        ("sub-01_run-1_dseg.nii.gz", "sub-01_run-2_T1w.nii.gz", False),
        ("sub-01_run-1_dseg.nii.gz", "sub-01_T1w.nii.gz", False),
        ("sub-02_dseg.nii.gz", "sub-01_T1w.nii.gz", False),
        ("sub-01_T2w_label-SC_seg.nii.gz", "sub-01_T1w.nii.gz", False),
        ("sub-01_T2w_label-SC_seg.nii.gz", "sub-01_T2w.nii.gz", True),
    ],
)
def test_a_mask_says_nothing_that_its_image_does_not(mask: str, image: str, belongs: bool) -> None:
    assert named(mask).may_be_of(named(image)) is belongs


def write(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def test_hidden_ignored_and_other_files_are_left_out(tmp_path: Path) -> None:
    write(
        tmp_path, "sub-01/anat/sub-01_T1w.nii.gz", "sub-01/anat/._sub-01_T1w.nii.gz", "sub-01/anat/sub-01_T1w.json",
        "sub-01/extra/sub-01_T1w.nii.gz", "sub-02/anat/sub-02_T1w.nii.gz", "sub-02/anat/sub-02_run-9_T1w.nii.gz",
        "sub-02/anat/sub-02_run-8_T1w.nii.gz", "sub-03/anat/sub-04_T1w.nii.gz", "sourcedata/sub-05/sub-05_T1w.nii.gz",
    )  # fmt: skip
    (tmp_path / ".bidsignore").write_text("# what the validator is not to see\nextra/\n*_run-*\n!*_run-8_*\n")
    assert [one.path for one in subject_files(tmp_path)] == [
        "sub-01/anat/sub-01_T1w.nii.gz",
        "sub-02/anat/sub-02_T1w.nii.gz",
        "sub-02/anat/sub-02_run-8_T1w.nii.gz",
    ]


def test_kinds_are_told_by_what_names_end_in(tmp_path: Path) -> None:
    stems = ["T1w", "desc-preproc_T1w", "space-MNI_desc-preproc_T1w", "T2w"]
    files = [named(f"sub-01_{stem}.nii.gz") for stem in stems]
    assert [one.ending for one in with_ending(files, "T1w", "images", "--data.suffix")] == ["T1w"]
    assert [one.ending for one in with_ending(files, "space-MNI_T1w", "images", "--data.suffix")] == [stems[2]]
    with pytest.raises(SuiteError, match=r"images end in desc-preproc_T1w \(1\), space-.*T1w \(1\): choose"):
        with_ending(files[1:], "T1w", "images", "--data.suffix")
    with pytest.raises(SuiteError, match="no images in it as BIDS names them"):
        images_of(write(tmp_path, "sub-01/anat/sub-01_dseg.nii.gz"), None)
    with pytest.raises(SuiteError, match="no such folder"):
        images_of(tmp_path / "nowhere", None)


def study(root: Path) -> Path:
    write(root, *(f"sub-0{number}/anat/sub-0{number}_T1w.nii.gz" for number in (2, 3)))
    write(root, *(f"sub-01/ses-{visit}/anat/sub-01_ses-{visit}_T1w.nii.gz" for visit in "AB"))
    (root / "participants.tsv").write_text("participant_id\tage\tscore\tsite\n01\t50\tn/a\t007\nsub-02\tn/a\t3\t008\n")
    (root / "sub-01" / "sub-01_sessions.tsv").write_text("session_id\tscore\nA\t4.5\nses-B\tn/a\n")
    return root


def test_tables_say_who_is_who(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = case_rows(tmp_path, images_of(study(tmp_path), None)).set_index("case_id")
    assert rows["patient_id"].to_dict() == {
        "sub-01_ses-A_T1w": "sub-01", "sub-01_ses-B_T1w": "sub-01", "sub-02_T1w": "sub-02", "sub-03_T1w": "sub-03",
    }  # fmt: skip
    assert rows["session"].dropna().tolist() == ["ses-A", "ses-B"]
    assert rows["age"].fillna(-1).tolist() == [50, 50, -1, -1]
    assert rows["score"].fillna(-1).tolist() == [4.5, -1, 3, -1]  # a session's own goes before the participant's
    assert table_columns(rows.reset_index()) == ["score", "age", "site"]
    assert "participants.tsv has no row for 1 of 4 images (sub-03)" in caplog.text


def test_without_sessions_there_is_no_such_column(tmp_path: Path) -> None:
    root = study(tmp_path)
    rows = case_rows(root, images_of(root, None, FilePatterns(["sub-02"])))
    assert "session" not in rows
    assert rows["score"].tolist() == [3]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("subject\tage\n01\t5\n", "participants.tsv: no column participant_id .found: subject, age."),
        ("participant_id\tage\n01\t5\nsub-01\t6\n", "participants.tsv: 'sub-01' has two rows: leave one"),
    ],
)
def test_tables_that_say_nobody(tmp_path: Path, text: str, said: str) -> None:
    root = study(tmp_path)
    (root / "participants.tsv").write_text(text)
    with pytest.raises(SuiteError, match=said):
        case_rows(root, images_of(root, None))


def test_columns_never_take_the_place_of_ours(tmp_path: Path) -> None:
    root = study(tmp_path)
    (root / "participants.tsv").write_text(
        "participant_id\tpath\tsplit\nsub-02\tx\tdev\nsub-03\ty\ttest\nsub-01\tz\ttrain\n"
    )
    rows = case_rows(root, images_of(root, None)).set_index("case_id")
    assert rows["split"].tolist() == ["train", "train", "val", "test"]
    assert rows["path"]["sub-02_T1w"].endswith(".nii.gz")
    assert rows["path_of_participant"]["sub-02_T1w"] == "x"


def test_folders_of_subjects_are_recognised(tmp_path: Path) -> None:
    assert is_bids(study(tmp_path / "study"))
    assert not is_bids(write(tmp_path / "loose", "sub-01.nii.gz"))
    assert not is_bids(tmp_path / "nowhere")
