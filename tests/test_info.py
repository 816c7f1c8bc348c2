"""``graphseq info``: what a bug report needs."""

import json
import types
from pathlib import Path

import pytest
import torch

from graphseq import info
from graphseq.cli import main


def test_sections(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GRAPHSEQ_DATA", str(tmp_path))
    monkeypatch.setenv("GRAPHSEQ_CACHE", str(tmp_path / "none"))
    found = info.collect()
    assert list(found) == ["versions", "machine", "devices", "backends", "extras", "folders"]
    assert found["versions"]["torch"] == torch.__version__
    assert found["devices"]["cpu"] == f"{torch.get_num_threads()} threads"
    assert found["backends"]["numba"].startswith("live, ")
    assert set(found["extras"]) == {"scatter", "plot", "log"}
    assert found["folders"]["GRAPHSEQ_DATA"] == str(tmp_path)
    assert found["folders"]["cache"] == f"{tmp_path / 'none'} (not there yet)"


def test_packages_that_are_missing_or_broken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "built_for_another_torch.py").write_text("raise OSError('undefined symbol\\n_ZN')")
    monkeypatch.syspath_prepend(tmp_path)
    extras = {"scatter": "built_for_another_torch", "plot": "no_such_package"}
    monkeypatch.setattr(info, "EXTRAS", extras)
    found = info.collect()["extras"]
    assert found["scatter"] == "installed, but does not load: undefined symbol _ZN"
    assert found["plot"] == "not installed"


def test_text_holds_every_value(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    for section, entries in info.collect().items():
        assert section in text
        for name, value in entries.items():
            assert name in text
            assert str(value) in text


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == info.collect()


def test_gpu_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    properties = types.SimpleNamespace(name="H", total_memory=80 * 2**30)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "H")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    found = info.collect()
    assert found["devices"]["cuda:0"] == "H"
    assert (found["machine"]["gpu"], found["machine"]["gpu_memory_gb"]) == ("H", 80.0)
