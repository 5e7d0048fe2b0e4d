"""Derived UIDs: valid, repeatable, and never two things' at a time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import UID

from tasks.deployment.dicom.uids import derived_uid

PARTS = st.lists(st.text(max_size=12) | st.binary(max_size=12), max_size=4)


@given(st.text(max_size=8), PARTS)
def test_uids_are_valid_and_repeat(kind: str, parts: list[str | bytes]) -> None:
    uid = derived_uid(kind, *parts)
    assert UID(uid).is_valid
    assert uid.startswith("2.25.")
    assert derived_uid(kind, *parts) == uid


@given(PARTS, PARTS)
def test_other_parts_are_another_uid(one: list[str | bytes], other: list[str | bytes]) -> None:
    def plain(parts: list[str | bytes]) -> list[bytes]:
        return [part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part for part in parts]

    same = plain(one) == plain(other)
    assert (derived_uid("seg", *one) == derived_uid("seg", *other)) == same
    assert derived_uid("seg", *one) != derived_uid("sr", *one)


def test_the_rule_stays_what_it_is() -> None:
    """A UID that changed would be another object in every archive that has the first one."""
    assert derived_uid("seg", "model", "1.2.3") == "2.25.57113216182951542119880187575181003563"
