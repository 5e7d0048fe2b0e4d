"""``--memory``: the largest batch within it, the cases of a step unchanged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scansuite.errors import SuiteError
from tasks.cli.training.memory import divisors, largest_within, size_of
from tests.tasks.cli.conftest import TINY, Run, one_line


@pytest.mark.parametrize(
    ("text", "size"), [("20GiB", 20 * 2**30), ("1.5 gib", 3 * 2**29), ("800MB", 800_000_000), ("2MiB", 2**21)]
)
def test_sizes(text: str, size: int) -> None:
    assert size_of(text) == size


@pytest.mark.parametrize("text", ["20", "GiB", "-1GiB", "0GiB", "20 GiBs", "20KiB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(SuiteError, match=r"--memory .*: a size such as 20GiB"):
        size_of(text)


@given(wanted=st.integers(1, 200), fixed=st.integers(0, 50), limit=st.integers(1, 400), full=st.integers(1, 300))
def test_the_largest_divisor_that_fits_is_chosen(wanted: int, fixed: int, limit: int, full: int) -> None:
    """Memory is a fixed part and one a case, on a device of a size of its own."""

    def peak(batch: int) -> int | None:
        used = fixed + batch
        return used if used <= full else None

    batch, used = largest_within(limit, divisors(wanted), peak)
    least = 2 if wanted > 1 else 1  # a batch norm needs two cases
    fitting = [size for size in range(least, wanted + 1) if wanted % size == 0 and fixed + size <= min(limit, full)]
    assert batch == max(fitting, default=None)
    if batch is not None:
        assert used == fixed + batch <= limit
        assert wanted % batch == 0


def test_a_cpu_has_none_of_its_own(run: Run) -> None:
    status, _, err = run("fit", *TINY, "--data.num_patients", "12", "--memory", "20GiB")
    assert status == 2
    assert "--memory 20GiB: it is of a GPU, and this trains on cpu" in one_line(err)
