"""Files of weights are read once within a block, and anew where they have changed or the block has ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from backbones.weight_files import load_pickled, reading_once


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that torch opens."""
    opened: list[Path] = []
    load = torch.load

    def counted(file: Any, **more: Any) -> Any:
        opened.append(Path(file))
        return load(file, **more)

    monkeypatch.setattr(torch, "load", counted)
    return opened


def test_a_file_is_read_once_within_a_block(tmp_path: Path, readings: list[Path]) -> None:
    file, other = tmp_path / "a.pth", tmp_path / "b.pth"
    torch.save({"a": torch.zeros(1)}, file)
    torch.save({"b": torch.zeros(2)}, other)
    with reading_once():
        first = load_pickled(file)
        with reading_once():  # an inner block ends with the outer one
            assert load_pickled(file) is first
        assert load_pickled(tmp_path / "." / "a.pth") is first
        assert set(load_pickled(other)) == {"b"}
        assert readings == [file, other]
        torch.save({"a": torch.zeros(1), "more": 1}, file)
        assert set(load_pickled(file)) == {"a", "more"}  # another file by now
    assert load_pickled(file) is not load_pickled(file)
    assert len(readings) == 5


def test_nothing_is_kept_after_an_error(tmp_path: Path, readings: list[Path]) -> None:
    file = tmp_path / "a.pth"
    file.write_bytes(b"no weights")
    with pytest.raises(Exception, match=r"."), reading_once():
        load_pickled(file)
    torch.save({"a": torch.zeros(1)}, file)
    assert set(load_pickled(file)) == {"a"}
    assert load_pickled(file) is not load_pickled(file)
    assert len(readings) == 4
