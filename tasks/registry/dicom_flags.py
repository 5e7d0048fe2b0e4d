"""Flags of ``predict`` that ask for results as DICOM objects; those of the suite and of the runtime."""

from __future__ import annotations

from typing import Literal

from tasks.registry.flag import Flag, OwnFlags

DICOM_FLAGS: OwnFlags = {
    "dicom": Flag(
        "DICOM objects of each case, for the hospital's archive: seg (segmentation), sr (structured report), sc "
        "(secondary capture of the overlays), gsps (greyscale presentation state), pdf (a page about the case); the "
        "input must be DICOM; left out: none",
        several=True,
    ),
    "dicom_seg": Flag(
        "kind of the segmentations; few viewers read labelmap yet", Literal["binary", "labelmap"] | None, "binary"
    ),
    "dicom_codes": Flag(
        "CSV from names of classes to codes: name,category,category_meaning,type,type_meaning, and if need be "
        "modifier,modifier_meaning; a code is SCHEME:VALUE, such as SCT:10200004 (Liver); left out: the suite's own "
        "table of common organs and findings, and a private code for other names"
    ),
    "dicom_pdf": Flag(
        "PDF, or HTML (a report) that a browser here prints, that --dicom pdf puts into each study in place of a page "
        "about the case; left out: that page"
    ),
}
