"""Settings of the service: what is refused before anything listens."""

from __future__ import annotations

from pathlib import Path

import pytest

from scansuite.errors import SuiteError
from tasks.serving.server import find_models, listen
from tasks.serving.settings import RequestLimits, ServeSettings


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"host": "0.0.0.0"}, "give --token"),
        ({"host": "192.168.1.4"}, "give --token"),
        ({"token": "short"}, "at least 8"),
        ({"token": "line\nbreak in it"}, "printable"),
        ({"port": 70000}, "--port 70000"),
        ({"workers": 0}, "--workers 0"),
        ({"threads": 0}, "--threads 0"),
    ],
)
def test_settings_that_are_none(changes: dict[str, object], line: str) -> None:
    with pytest.raises(SuiteError, match=line):
        ServeSettings(**changes)  # type: ignore[arg-type]


def test_who_may_listen_beyond_this_machine() -> None:
    assert ServeSettings(host="::1").is_loopback
    assert ServeSettings(host="127.0.0.2").is_loopback
    assert not ServeSettings(host="0.0.0.0", token="correct horse").is_loopback
    assert not ServeSettings(host="0.0.0.0", without_token=True).is_loopback
    assert "horse" not in repr(ServeSettings(token="correct horse"))


def test_limits_that_are_none() -> None:
    with pytest.raises(SuiteError, match="--max_request 0"):
        RequestLimits(max_request=0)
    with pytest.raises(SuiteError, match="--max_seconds 0"):
        RequestLimits(max_seconds=0)
    with pytest.raises(SuiteError, match="--window 'lnug'"):
        RequestLimits(window="lnug")


def test_models_of_a_folder(tmp_path: Path) -> None:
    for name in ("b.onnx", "a.scansuite", "notes.txt"):
        (tmp_path / name).touch()
    assert list(find_models(str(tmp_path))) == ["a", "b"]
    assert find_models(str(tmp_path / "b.onnx")) == {"b": str(tmp_path / "b.onnx")}
    (tmp_path / "a.onnx").touch()
    with pytest.raises(SuiteError, match="two files have the name a"):
        find_models(str(tmp_path))
    with pytest.raises(SuiteError, match="no such file or folder"):
        find_models(str(tmp_path / "c"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(SuiteError, match="make one with export"):
        find_models(str(tmp_path / "empty"))


def test_an_address_that_is_taken() -> None:
    with listen("127.0.0.1", 0) as first:
        first.listen()
        port = first.getsockname()[1]
        with pytest.raises(SuiteError, match=f"--port {port}: cannot be listened on"):
            listen("127.0.0.1", port)
