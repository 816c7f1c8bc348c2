"""The streaming benchmark on few tokens: mixers read by ``step``, and a wrong step has no row."""

import csv
from pathlib import Path

import pytest
import torch
from torch import Tensor

import graphseq.sequence.nn as layers
from graphseq.bench import stream
from graphseq.sequence.nn import AarenAttention, Elman, SoftmaxAttention, State

KEYS = {"op", "case", "ours_ms", "reference", "reference_ms", "ratio", "max_error"}


def test_every_mixer_of_constant_state_is_there_and_attention() -> None:
    names = list(stream.cases())
    assert names[-1] == "SoftmaxAttention"
    assert {"AarenAttention", "Elman", "GRU", "LSTM", "LinearAttention", "S4D", "S6", "SSD"} < {
        *names
    }
    assert {"Mixer", "Bidirectional"}.isdisjoint(names)
    assert all(issubclass(getattr(layers, name), layers.Mixer) for name in names)


def test_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "CACHED_TOKENS", 6)
    monkeypatch.setattr(stream, "CHECKED", 5)
    threads = torch.get_num_threads()
    rows = stream.rows(tokens=(2, 6, 9), window=2)
    assert torch.get_num_threads() == threads
    assert all(row.keys() - {"token", "state_bytes"} == KEYS for row in rows)
    known = stream.cases()
    assert [row["op"] for row in rows] == [name for name in known for _ in range(3)]
    for row in rows[:-3]:
        assert row["case"] == f"token {row['token']}"
        assert row["ours_ms"] > 0
        assert row["max_error"] <= stream.TOLERANCE
    sizes = {name: {row["state_bytes"] for row in rows if row["op"] == name} for name in known}
    attention = sizes.pop("SoftmaxAttention")
    assert all(len(each) == 1 for each in sizes.values())
    assert sizes["Elman"] == {4 * 64}
    assert attention == {2 * (2 * 64 * 4 + 1), 6 * (2 * 64 * 4 + 1), None}
    assert rows[-1]["case"] == "token 9: stops at 6"
    assert rows[-1]["ours_ms"] is None


def test_every_token_is_read_once_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "CHECKED", 4)
    read, step = [], Elman.step

    def counted(self: Elman, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        read.append(x_t)
        return step(self, x_t, state)

    monkeypatch.setattr(Elman, "step", counted)
    stream.rows("Elman", tokens=(3, 1030), window=2)
    assert len(read) == 4 + 1030
    assert torch.equal(read[4], read[4 + 1024])  # the sequence repeats


@pytest.mark.parametrize("wrong", ["step", "infinite"])
def test_no_speed_is_reported_for_another_result(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, calls = AarenAttention.step, []

    def changed(self: AarenAttention, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        y_t, state = step(self, x_t, state)
        calls.append(y_t)
        late = wrong == "infinite" and len(calls) > stream.CHECKED
        return y_t * (1.01 if wrong == "step" else float("nan") if late else 1.0), state

    monkeypatch.setattr(AarenAttention, "step", changed)
    with pytest.raises(ValueError, match=r"bench stream AarenAttention.*no speed is reported"):
        stream.rows("AarenAttention", tokens=(2,), window=1)


@pytest.mark.parametrize(("tokens", "window"), [((), 0), ((5, 3), 1), ((0, 3), 1), ((3, 3), 1)])
def test_tokens_must_increase(tokens: tuple[int, ...], window: int) -> None:
    with pytest.raises(ValueError, match=r"bench stream: tokens are .* window is .*; pass"):
        stream.rows("Elman", tokens=tokens, window=window)


def test_figure_and_its_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    kinds = {kind.__name__: kind for kind in (Elman, SoftmaxAttention)}
    monkeypatch.setattr(stream, "cases", lambda: kinds)
    monkeypatch.setattr(stream, "CACHED_TOKENS", 4)
    image = stream.figure(tmp_path / "stream.png", tokens=(2, 4, 8))
    assert image.read_bytes().startswith(b"\x89PNG")
    with (tmp_path / "curves" / "stream.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(line["op"], line["token"]) for line in lines] == [
        ("Elman", "2"), ("Elman", "4"), ("Elman", "8"),
        ("SoftmaxAttention", "2"), ("SoftmaxAttention", "4"),
    ]  # fmt: skip
    assert all(float(line["ms"]) > 0 for line in lines)
    assert {line["state_bytes"] for line in lines[:3]} == {"256"}
    other = stream.draw(tmp_path / "curves" / "stream.csv", tmp_path / "again.svg")
    assert other.read_text().startswith("<?xml")
