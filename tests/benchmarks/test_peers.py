"""The comparison with peers: those that are here train, those that are not are named with the way to get them."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import peers
from benchmarks.drawn import classification_files
from benchmarks.peer_loops import PEERS, Peer, Setting


@pytest.mark.parametrize("name", [name for name, peer in PEERS.items() if not peer.needs])
def test_whoever_is_here_trains(name: str, tmp_path: Path) -> None:
    classification_files(tmp_path / "images", 8, 32, "png")
    setting = Setting(tmp_path / "images", 32, 4, workers=0, epochs=2, threads=1)
    seconds = PEERS[name].train(setting)
    assert len(seconds) == 2
    assert all(spent > 0 for spent in seconds)


def test_the_table_says_who_was_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def one(name: str, setting: Setting) -> list[float]:
        if name == "lightning":
            raise RuntimeError("lightning: out of paint")
        return [1.0, 4.0 if setting.cache else 2.0, 8.0]

    monkeypatch.setattr(peers, "one", one)
    monkeypatch.setitem(PEERS, "torchgeo", Peer("Nowhere", PEERS["torchgeo"].train, "no_such_package"))
    names = ["suite", "lightning", "torchgeo"]
    assert peers.main(["--images", "8", "--side", "32", "--rounds", "2", "--peers", *names]) == 0
    out = capsys.readouterr().out
    assert "| none | 4.0 | 2.00 | 1.00 to 8.00 | 1.00 |" in out
    assert "| memory | 2.0 | 4.00 | 1.00 to 8.00 | 1.00 |" in out
    assert "left out: lightning: out of paint" in out
    assert out.count("left out: Nowhere cannot be imported: pip install --no-deps --target") == 1


@pytest.mark.slow
def test_a_peer_that_fails_is_told_by_its_last_line(tmp_path: Path) -> None:
    setting = Setting(tmp_path / "nothing", 32, 4, workers=0, epochs=2, threads=1)
    with pytest.raises(RuntimeError, match=r"lightning: .*nothing"):
        peers.one("lightning", setting)
