"""Flags of ``export`` that say nothing where they stand are refused before anything takes long."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from scansuite.errors import SuiteError
from tasks.cli.verbs.export import OWN_FLAGS, _new_file, _refuse_useless


def refuse(*argv: str, **config: Any) -> None:
    defaults: dict[str, Any] = {name: getattr(flag, "default", None) for name, flag in OWN_FLAGS.items()}
    typed = {name.removeprefix("--"): value for name, value in zip(argv[::2], argv[1::2], strict=True)}
    _refuse_useless(argv, cast("Any", SimpleNamespace(config={**defaults, "output": "m.onnx", **typed, **config})))


@pytest.mark.parametrize(
    ("argv", "config", "reason"),
    [
        (("--key", "k.pem"), {}, "--key: is about a package"),
        (("--example", "a.png"), {"output": "m.onnx"}, "--example: is about a package"),
        (("--quantize_method", "entropy"), {}, "--quantize_method: is about --quantize int8"),
        (("--reduce_range", "true"), {}, "--reduce_range: is about --quantize int8"),
        (("--input", "scans"), {"quantize": "int8"}, "--input: int8 is let pass by metrics"),
        (("--largest_loss", "2"), {"quantize": "int8", "largest_loss": 2.0}, "above 0 and below 1"),
        (("--key", "none.pem"), {"output": "m.scansuite"}, "none.pem: the key cannot be read"),
    ],
)
def test_useless_flags(argv: tuple[str, ...], config: dict[str, Any], reason: str) -> None:
    with pytest.raises(SuiteError, match=reason) as error:
        refuse(*argv, **config)
    assert "\n" not in str(error.value)


def test_flags_that_go_together() -> None:
    refuse()
    refuse("--quantize", "int8", "--quantize_method", "entropy")
    refuse("--example", "a.png", output="m.scansuite")


def test_the_output_is_one_of_what_is_written(tmp_path: Path) -> None:
    for name in ("m.onnx", "m.scansuite"):
        assert _new_file(str(tmp_path / "new" / name)).parent.is_dir()
    for asked, reason in (("m.zip", "ends in .onnx, or in .scansuite"), (None, "name the file to write")):
        with pytest.raises(SuiteError, match=reason):
            _new_file(asked)
