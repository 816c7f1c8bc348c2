"""Forward learning of features that stay in a file, and of sparse ones."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from forward_cases import CASES, VARIANTS, history, link_data, make, node_data
from torch import Tensor

from graphseq import Task, fit
from graphseq.graph.csr import CSR
from graphseq.graph.ops import frozen_product, slicing
from graphseq.training import FitResult

every_variant = pytest.mark.parametrize(
    ("kind", "name"), [*CASES, *(("nodes", name) for name in VARIANTS)]
)


def on_disk(kind: str, path: Path, dtype: torch.dtype) -> Any:
    """The data of a kind, whose features are mapped from a file."""
    data: Any = node_data() if kind == "nodes" else link_data()
    data.x.to(dtype).numpy().tofile(path)
    mapped = torch.from_file(str(path), size=data.x.numel(), dtype=dtype).view(data.x.shape)
    return dataclasses.replace(data, x=mapped)


def assert_close(made: Task, result: FitResult, other: Task, expected: FitResult) -> None:
    for key, weight in other.model.state_dict().items():
        torch.testing.assert_close(made.model.state_dict()[key], weight, rtol=1e-9, atol=1e-12)
    assert result.metrics == pytest.approx(expected.metrics, abs=1e-12)
    for row, plain in zip(history(result), history(expected), strict=True):
        assert row == pytest.approx(plain, abs=1e-9)


@every_variant
def test_features_from_a_file_give_the_same(kind: str, name: str, tmp_path: Path) -> None:
    data = on_disk(kind, tmp_path / "x", torch.float64)
    made, plain = make(kind, name, data=data, row_block=7), make(kind, name, data=data)
    results = [fit(one, precision="64-true") for one in (made, plain)]
    assert_close(made, results[0], plain, results[1])
    assert isinstance(made.data.x, Tensor)
    assert made.data.x.data_ptr() == data.x.data_ptr()


@every_variant
def test_a_file_may_hold_shorter_numbers_than_the_weights(
    kind: str, name: str, tmp_path: Path
) -> None:
    data = on_disk(kind, tmp_path / "x", torch.float32)
    made, plain = make(kind, name, data=data, row_block=16), make(kind, name, data=data)
    results = [fit(one, precision="64-true") for one in (made, plain)]
    assert made.data.x.data_ptr() == data.x.data_ptr()  # type: ignore[union-attr]
    assert plain.data.x.dtype == torch.float64  # type: ignore[union-attr]
    assert results[0].metrics == pytest.approx(results[1].metrics, abs=1e-5)


@every_variant
def test_a_file_is_never_copied_whole(
    kind: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in training nor when the run is scored."""
    data = on_disk(kind, tmp_path / "x", torch.float32)
    scaled = []

    def spy(x: Any, scale: Tensor) -> Any:
        scaled.append(x.data_ptr() if isinstance(x, Tensor) else None)
        return slicing.scale_rows(x, scale)

    monkeypatch.setattr(frozen_product, "scale_rows", spy)
    fit(make(kind, name, data=data, row_block=7))
    assert data.x.data_ptr() not in scaled


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_sparse_features_are_their_dense_selves(kind: str, name: str) -> None:
    data: Any = node_data() if kind == "nodes" else link_data()
    dense = data.x * (data.x > 0.3)
    options = [dataclasses.replace(data, x=x) for x in (CSR.from_dense(dense), dense)]
    made, plain = (make(kind, name, data=one) for one in options)
    results = [fit(one, precision="64-true") for one in (made, plain)]
    assert isinstance(made.data.x, CSR)
    assert_close(made, results[0], plain, results[1])
