from __future__ import annotations

from typing import Optional, Union

import pytest
from jsonargparse import ArgumentParser

from tasks.cli.trainer_types import whole_numbers_first


class Shares:
    """Takes numbers of batches, and shares of them."""

    def __init__(self, batches: float | None = None, other: float | str = 0.5) -> None:
        self.batches, self.other = batches, other


# As a library has it where another has written the other order before.
Shares.__init__.__annotations__.update(batches=Optional[Union[float, int]], other=Union[float, str])  # noqa: UP007, UP045


@pytest.mark.parametrize(("typed", "value"), [("1", 1), ("1.0", 1.0), ("0.5", 0.5), ("null", None)])
def test_one_batch_is_not_all_of_them(typed: str, value: float | None) -> None:
    whole_numbers_first(Shares)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Shares, "shares")
    found = parser.parse_args(["--shares.batches", typed]).shares.batches
    assert (found, type(found)) == (value, type(value))
