"""What ``graphseq bench`` can run."""

from importlib import import_module

import pytest

from graphseq.bench import BENCHMARKS, run_bench


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_is_there_and_refuses_an_unknown_case(name: str) -> None:
    rows = import_module(f"graphseq.bench.{name}").rows
    with pytest.raises(ValueError, match=f"bench {name}: no case 'nonsense'; there are "):
        rows("nonsense")


def test_unknown_benchmark_is_named_with_a_close_one() -> None:
    with pytest.raises(ValueError, match="no benchmark 'dagn'; did you mean dagnn"):
        run_bench("dagn")
