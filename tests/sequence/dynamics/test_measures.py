"""Measures of systems, the table of mixers, and the figures."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from graphseq.sequence.dynamics import (
    eigenvalues,
    figures,
    memory,
    state_size,
    table,
    to_dynamics,
    transition,
)
from graphseq.sequence.nn import (
    LRU,
    LSTM,
    S4D,
    S6,
    SSD,
    AarenAttention,
    Bidirectional,
    Elman,
    LinearAttention,
    Mixer,
    QuasiGRU,
    SoftmaxAttention,
)

D, T = 4, 9
PNG = b"\x89PNG"


@pytest.fixture(autouse=True)
def _same_draws() -> None:
    torch.manual_seed(0)


def inputs(batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, T, D, dtype=torch.float64)


@pytest.mark.parametrize(
    ("mixer", "size", "structure", "varies"),
    [
        (SoftmaxAttention(D), T, "identity", False),
        (AarenAttention(D, num_heads=1), 1, "scalar", True),
        (AarenAttention(D, num_heads=2), 1, "scalar for each of 2 blocks", True),
        (LinearAttention(D, key_channels=6), 6, "scalar", True),
        (LinearAttention(D, num_heads=2, key_channels=6), 3, "scalar for each of 2 blocks", True),
        (LinearAttention(D, normalize=False), D, "identity", False),
        (SSD(D, state_size=5), 5, "scalar", True),
        (SSD(D, num_heads=2, state_size=5), 5, "scalar for each of 2 blocks", True),
        (S6(D, state_size=3), 3, "diagonal", True),
        (S4D(D, state_size=6), 6, "complex diagonal", False),
        (S4D(D, state_size=6, init="s4d-real"), 6, "diagonal", False),
        (LRU(D, state_size=8), 4, "complex diagonal", False),
        (QuasiGRU(D), 1, "diagonal", True),
    ],
)
def test_size_and_transition(mixer: Mixer, size: int, structure: str, varies: bool) -> None:
    system = to_dynamics(mixer.double(), inputs())
    assert state_size(system) == size
    found = transition(system)
    assert (found.structure, found.varies) == (structure, varies)
    moduli = eigenvalues(system)
    assert moduli.shape == system.Lambda.shape
    assert found.smallest == moduli[:, 1:].min() <= found.largest == moduli[:, 1:].max()


@pytest.mark.parametrize("source", [0, 3, T - 1])
@pytest.mark.parametrize("kind", [LinearAttention, S6, LRU, S4D])
def test_memory_is_the_norm_of_blocks_of_phi(kind: type[Mixer], source: int) -> None:
    system = to_dynamics(kind(D).double(), inputs())
    blocks = system.phi()[:, source:, source]
    torch.testing.assert_close(memory(system, source), torch.linalg.matrix_norm(blocks).detach())


def test_memory_refuses_a_step_that_is_none() -> None:
    with pytest.raises(ValueError, match=r"memory: source is 9; pass a step of 0 \.\. 8"):
        memory(to_dynamics(QuasiGRU(D).double(), inputs()), T)


def test_transition_needs_two_steps() -> None:
    with pytest.raises(ValueError, match="transition: the system has 2 sequences of 1 steps"):
        transition(to_dynamics(QuasiGRU(D).double(), inputs()[:, :1]))


def test_table() -> None:
    mixers = {"softmax": SoftmaxAttention(D), "S6": S6(D, state_size=3), "LSTM": LSTM(D)}
    mixers["Elman"] = Elman(D)
    rows = table({name: mixer.double() for name, mixer in mixers.items()}, inputs()).splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert {len(row) for row in cells} == {6}
    assert [row[0] for row in cells] == ["mixer", "---", *mixers]
    assert cells[2][1:5] == ["9 = T", "identity", "no", "1"]
    assert cells[3][1:4] == ["3", "diagonal", "yes"]
    assert cells[4][1:] == ["2", "not linear in the state", "-", "-", "-"]
    assert cells[5][1] == "1"


def test_a_modulus_next_to_1_is_not_called_1() -> None:
    mixer = LRU(D).double()
    torch.nn.init.constant_(mixer.nu_log, -9.0)  # |Lambda| = 0.99988
    assert "| < 1 |" in table({"LRU": mixer}, inputs())


def test_table_refuses() -> None:
    with pytest.raises(ValueError, match=r"table: u has shape \(2, 2, 4\); pass"):
        table({"S6": S6(D).double()}, inputs()[:, :2])
    with pytest.raises(ValueError, match="Bidirectional hears the future"):
        table({"both": Bidirectional(D).double()}, inputs())


@pytest.mark.parametrize("draw", [figures.eigenvalues, figures.memory])
def test_figures(draw: Callable[..., Path], tmp_path: Path) -> None:
    some: dict[str, Mixer] = {"SSD": SSD(D), "S6": S6(D), "LRU": LRU(D), "GRU": QuasiGRU(D)}
    for count in (1, 4):
        mixers = {name: some[name].double() for name in list(some)[:count]}
        path = draw(mixers, inputs(), tmp_path / "new" / f"{count}.png", title="a title")
        assert path.read_bytes().startswith(PNG)


@pytest.mark.parametrize("draw", [figures.eigenvalues, figures.memory])
def test_figures_refuse(draw: Callable[..., Path], tmp_path: Path) -> None:
    name = draw.__name__
    with pytest.raises(ValueError, match=f"{name}: got 0 mixers"):
        draw({}, inputs(), tmp_path / "f.png")
    with pytest.raises(ValueError, match=rf"{name}: .* shape \(2, 1, 4\)"):
        draw({"S6": S6(D).double()}, inputs()[:, :1], tmp_path / "f.png")
    assert list(tmp_path.iterdir()) == []
