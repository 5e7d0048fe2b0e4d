"""Real scans as a study would keep them: in folders of BIDS, or with masks beside their images."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image


def link(source: Path, target: Path) -> None:
    """The same file in another place and under another name."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def hippocampi(shared_data: Path, count: int) -> list[tuple[Path, Path]]:
    """Some volumes with their masks."""
    root = shared_data / "msd_hippocampus"
    images = sorted((root / "imagesTr").glob("*.nii.gz"))[:count]
    return [(image, root / "labelsTr" / image.name) for image in images]


def nuclei(shared_data: Path, count: int) -> list[tuple[Path, Path]]:
    """Some flat images with their instance masks."""
    root = shared_data / "dsb2018_nuclei"
    images = sorted((root / "images").iterdir())[:count]
    return [(image, next((root / "labels").glob(f"{image.stem}*"))) for image in images]


def binary(mask: Path, target: Path) -> None:
    """An instance mask as 0 and 1."""
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((np.array(Image.open(mask)) > 0).astype(np.uint8)).save(target)


def write_study(root: Path, shared_data: Path, subjects: int = 12) -> Path:
    """A study: T1w of all subjects, the first three in two sessions, T2w of some; hippocampi as dseg, heads as mask."""
    scans = hippocampi(shared_data, subjects + 3)
    rows = ["participant_id\tage\tsex\tgroup"]
    for number in range(subjects):
        subject = f"sub-{number + 1:02d}"
        sessions = ["ses-01_", "ses-02_"] if number < 3 else [""]
        for visit, session in enumerate(sessions):
            image, mask = scans[number if visit == 0 else subjects + number]
            inside = f"{subject}/{session.rstrip('_')}/anat" if session else f"{subject}/anat"
            stem = f"{subject}_{session}"
            link(image, root / inside / f"{stem}T1w.nii.gz")
            (root / inside / f"{stem}T1w.json").write_text("{}")
            if number % 2:
                link(image, root / inside / f"{stem}T2w.nii.gz")
            manual = root / "derivatives" / "manual" / inside
            link(mask, manual / f"{stem}dseg.nii.gz")
            whole = nibabel.load(mask)
            head = (np.asanyarray(whole.dataobj) == 1).astype(np.uint8)
            nibabel.save(nibabel.Nifti1Image(head, whole.affine), manual / f"{stem}label-head_mask.nii.gz")
        if len(sessions) > 1:
            (root / subject / f"{subject}_sessions.tsv").write_text(
                "session_id\tscore\tgroup\nses-01\t20\tn/a\nses-02\t18.5\tpatient\n"
            )
        age = "n/a" if number == 4 else str(60 + number)
        rows.append(f"{subject}\t{age}\t{'FM'[number % 2]}\t{('control', 'patient')[number // 2 % 2]}")
    (root / "participants.tsv").write_text("\n".join(rows) + "\n")
    (root / "dataset_description.json").write_text('{"Name": "study", "BIDSVersion": "1.10.0"}')
    (root / "derivatives" / "manual" / "dseg.tsv").write_text("index\tname\n1\tanterior\n2\tposterior\n")
    link(scans[0][0], root / "sourcedata" / "raw_001.nii.gz")
    link(scans[0][0], root / "derivatives" / "preproc" / "sub-01" / "anat" / "sub-01_desc-preproc_T1w.nii.gz")
    return root


def write_microscopy(root: Path, shared_data: Path, subjects: int = 10) -> Path:
    """Microscopy of subjects with one or two samples each."""
    images = iter(nuclei(shared_data, 2 * subjects))
    rows = ["participant_id\tspecies"]
    for number in range(subjects):
        subject = f"sub-m{number}"
        for sample in "AB"[: 1 + number % 2]:
            image, mask = next(images)
            stem = f"{subject}_sample-{sample}"
            link(image, root / subject / "micr" / f"{stem}_FLUO{image.suffix}")
            binary(mask, root / "derivatives" / "labels" / subject / "micr" / f"{stem}_label-nucleus_mask.png")
        rows.append(f"{(number and subject) or subject.removeprefix('sub-')}\t{('mouse', 'human')[number % 2]}")
    (root / "participants.tsv").write_text("\n".join(rows) + "\n")
    (root / "dataset_description.json").write_text('{"Name": "cells", "BIDSVersion": "1.10.0"}')
    return root
