"""The benchmark of the ops along time on short sequences: all sides agree, or there is no row."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from graphseq.bench import scan, scan_inputs, scan_memory, scan_reference
from graphseq.bench.scan_inputs import exact, normal
from graphseq.bench.timing import max_error
from graphseq.sequence.ops import naive

KEYS = {"op", "case", "ours_ms", "reference", "reference_ms", "ratio", "max_error"}
BOTH = ["paper", "strong"]
B, T, H, D = 2, 13, 3, 4


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("prefix_softmax", ["paper", "cumsum", "strong"]),
        ("linear", BOTH),
        ("ssd", BOTH),
        ("s6", 5 * BOTH),
    ],
)
def test_rows(case: str, expected: list[str]) -> None:
    rows = scan.rows(case, seconds=0.0, shrink=64)
    assert all(set(row) == KEYS for row in rows)
    assert [row["reference"] for row in rows] == expected
    assert all(row["op"].startswith(case) for row in rows)
    assert all(row["max_error"] <= scan.TOLERANCE and row["ours_ms"] > 0 for row in rows)


def test_growth_has_one_row_for_each_length() -> None:
    rows = scan.rows("growth", seconds=0.0, shrink=256)
    assert [row["case"] for row in rows] == [f"T={4 * 2**i}" for i in range(7)]
    assert all(row.keys() - {"ms_per_step"} == KEYS for row in rows)
    assert all(row["reference"] is row["reference_ms"] is row["ratio"] is None for row in rows)
    assert rows[3]["ms_per_step"] == rows[3]["ours_ms"] / 32


def outer(decaying: bool) -> tuple[Tensor, ...]:
    q, k, v = (normal(i, B, T, H, D + i) for i in (0, 0, 1))
    return (q, k, v, -normal(2, B, T, H).exp()) if decaying else (q, k, v)


def selective() -> tuple[Tensor, ...]:
    u, delta = normal(0, B, T, D), 0.3 * normal(1, B, T, D).exp()
    return u, delta, -normal(2, D, H).exp(), normal(3, B, T, H), normal(4, B, T, H)


def scored(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    scores = torch.einsum("hd,bthd->bth", query, keys) / D**0.5
    return naive.prefix_softmax(scores, values)


PREFIX = normal(0, B, T, H), normal(1, B, T, H, D)
SCORED = normal(0, H, D), normal(1, B, T, H, D), normal(2, B, T, H, D)
TWINS = [
    (scan_reference.doubling_softmax, naive.prefix_softmax, PREFIX),
    (scan_reference.cumulative_softmax, naive.prefix_softmax, PREFIX),
    (scan_reference.broadcast_attention, scored, SCORED),
    (scan_inputs.scored_prefix, scored, SCORED),
    (scan_inputs.prefix, naive.prefix_softmax, PREFIX),
    *(
        (function, scan_inputs.naive_outer, outer(decaying))
        for decaying in (False, True)
        for function in (scan_reference.outer_steps, scan_reference.masked_product)
    ),
    (scan_reference.selective_steps, scan_inputs.naive_selective, selective()),
    (scan_reference.selective_doubling, scan_inputs.naive_selective, selective()),
]


@pytest.mark.parametrize("steps", [T, 8, 1])
@pytest.mark.parametrize(("function", "twin", "inputs"), TWINS)
def test_references_are_the_naive_twins_in_values_and_gradients(
    function: Callable[..., Tensor],
    twin: Callable[..., Tensor],
    inputs: tuple[Tensor, ...],
    steps: int,
) -> None:
    inputs = tuple(x[:, :steps] if x.dim() > 2 else x for x in inputs)
    grad = normal(5, *twin(*inputs).shape)
    assert max_error(exact(function, inputs, grad), exact(twin, inputs, grad)) < 1e-12


def test_the_doubling_scan_takes_any_scores_and_the_running_sums_do_not() -> None:
    scores, values = 300 * PREFIX[0], PREFIX[1]
    expected = naive.prefix_softmax(scores.double(), values.double())
    assert max_error(scan_reference.doubling_softmax(scores, values), expected) < 1e-5
    assert not scan_reference.cumulative_softmax(scores, values).isfinite().all()


def test_exact_is_autograd_over_the_whole_batch() -> None:
    inputs = [x.double().requires_grad_() for x in selective()]
    grad = normal(5, B, T, D)
    out = scan_inputs.naive_selective(*inputs)
    expected = [out.detach(), *torch.autograd.grad(out, inputs, grad.double())]
    assert max_error(exact(scan_inputs.naive_selective, selective(), grad), expected) < 1e-12


@pytest.mark.parametrize("wrong", ["value", "gradient"])
@pytest.mark.parametrize(
    ("case", "op"),
    [
        ("prefix_softmax", "prefix_softmax"),
        ("growth", "prefix_softmax"),
        ("linear", "outer_scan"),
        ("ssd", "outer_scan"),
        ("s6", "selective_scan"),
    ],
)
def test_no_speed_is_reported_for_another_result(
    case: str, op: str, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = getattr(scan_inputs, op)

    def changed(*inputs: Tensor) -> tuple[Tensor, object]:
        out, state = right(*inputs)
        return (out * 1.01 if wrong == "value" else out.detach() + 0 * out), state

    monkeypatch.setattr(scan_inputs, op, changed)
    with pytest.raises(ValueError, match="no speed is reported"):
        scan.rows(case, seconds=0.0, shrink=128)


def test_a_wrong_reference_has_no_speed_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "outer_steps", lambda *inputs: scan_inputs.naive_outer(*inputs) + 1)
    with pytest.raises(ValueError, match=r"bench linear .*no speed is reported"):
        scan.rows("linear", seconds=0.0, shrink=128)


def test_memory_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []

    def peak(setup: object, *args: object) -> float:
        assert setup is scan_memory.setup
        asked.append(args)
        return {"ours": 2.0, "paper": 10.0, "strong": 30.0}[str(args[1])]

    monkeypatch.setattr(scan_memory, "peak_megabytes", peak)
    rows = scan.rows("memory", shrink=4)
    assert asked == [
        ("prefix_softmax", "ours", 1024),
        ("prefix_softmax", "paper", 1024),
        ("s6", "ours", 512),
        ("s6", "paper", 512),
        ("s6", "strong", 512),
    ]
    held = {"inputs + output": 16.125, "paper": 10.0}  # 1024 * 32 * (1 + 64 + 64) * 4 bytes
    assert {row["reference"]: row["reference_mb"] for row in rows[:2]} == held
    assert [row["ratio"] for row in rows[:2]] == [held["inputs + output"] / 2, 5.0]
    assert rows[0]["with_inputs"] == (8.125 + 2.0) / 16.125
    assert [row["reference"] for row in rows[2:]] == ["inputs + output", "B x T x d x n", *BOTH]
    assert rows[3]["reference_mb"] == 32.0


@pytest.mark.parametrize("op", scan_memory.OPS)
def test_memory_is_that_of_a_forward_and_a_backward_pass(
    op: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_memory, "WARM", 3)
    make, _, functions = scan_memory.OPS[op]
    grads = [scan_memory.setup(op, name, 6)() for name in functions]
    assert [len(each) for each in grads] == len(functions) * [len(make(1, 1))]  # type: ignore[arg-type]
    assert all(max_error(each, grads[0]) < 1e-5 for each in grads)
