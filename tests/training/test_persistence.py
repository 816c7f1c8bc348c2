"""A model saved and loaded is the model; nothing in its files is run."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from graphseq.files import sha256_of
from graphseq.graph.models import DAGNN
from graphseq.training import persistence
from graphseq.training.persistence import load, save
from graphseq.training.weights import read_weights, write_weights


class Mine(nn.Module):
    """A user's model that keeps its arguments."""

    def __init__(self, width: int, sizes: tuple[int, ...] = (1, 2), dtype: Any = None) -> None:
        super().__init__()
        self.width, self.sizes, self.dtype = width, sizes, dtype
        self.layers = nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width), nn.Dropout(0.5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


class Forgetful(nn.Module):
    """A user's model that does not."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(width, 1)


class Tied(nn.Module):
    """Two names for one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3)
        self.second.weight = self.first.weight


class Wrong(Mine):
    """Keeps another argument than it was given."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.width = width + 1


def same(a: nn.Module, b: nn.Module) -> bool:
    first, second = a.state_dict(), b.state_dict()
    return first.keys() == second.keys() and all(
        first[k].dtype == second[k].dtype and torch.equal(first[k], second[k]) for k in first
    )


def replace_weights(folder: Path, state: dict[str, torch.Tensor]) -> None:
    """Other weights with a card that vouches for them."""
    write_weights(folder / "model.safetensors", state)
    card = json.loads((folder / "model.json").read_text())
    card["sha256"] = sha256_of(folder / "model.safetensors")
    (folder / "model.json").write_text(json.dumps(card))


def test_round_trip_of_a_graphseq_model(tmp_path: Path) -> None:
    model = DAGNN(5, 3, hidden_channels=4, num_hops=2, dropout=0.25, batch_norm=True)
    model(torch.rand(4, 5), torch.tensor([[0, 1], [1, 0]]))  # moves the batch statistics
    save(model, tmp_path / "model")
    assert {path.name for path in (tmp_path / "model").iterdir()} == {
        "model.safetensors",
        "model.json",
    }
    loaded = load(tmp_path / "model")
    assert type(loaded) is DAGNN
    assert (loaded.num_hops, loaded.dropout, loaded.training) == (2, 0.25, False)
    assert same(loaded, model)
    x, graph = torch.rand(4, 5), torch.tensor([[0, 1, 2], [1, 2, 3]])
    assert torch.equal(loaded(x, graph), model.eval()(x, graph))


def test_round_trip_of_a_users_model(tmp_path: Path) -> None:
    model = Mine(3, sizes=(4, 5)).double()
    model.layers(torch.rand(6, 3, dtype=torch.float64))
    save(model, tmp_path)
    with pytest.raises(
        ValueError, match=r"test_persistence:Mine, which is no public class.*classes="
    ):
        load(tmp_path)
    loaded = load(tmp_path, classes=[Forgetful, Mine])
    assert isinstance(loaded, Mine)
    assert same(loaded, model)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_dtypes_are_kept(tmp_path: Path, dtype: torch.dtype) -> None:
    model = Mine(3)
    model.layers[0].to(dtype)  # the others stay as they are
    save(model, tmp_path)
    assert same(load(tmp_path, classes=[Mine]), model)
    tied = Tied().to(dtype)
    save(tied, tmp_path)
    loaded = load(tmp_path, classes=[Tied])
    assert same(loaded, tied)
    assert loaded.second.weight is loaded.first.weight  # type: ignore[union-attr]


def test_a_kill_while_saving_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(path: Path, content: Any) -> None:
        raise KeyboardInterrupt

    first, second = Mine(3), Mine(3)  # of the same shapes, so that only the numbers differ
    save(first, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(persistence, "atomic_write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            save(second, tmp_path)
    with pytest.raises(ValueError, match="saving was interrupted; save the model again"):
        load(tmp_path, classes=[Mine])
    save(second, tmp_path)
    assert same(load(tmp_path, classes=[Mine]), second)


def test_saving_twice_replaces(tmp_path: Path) -> None:
    save(Mine(3), tmp_path)
    second = Mine(4)
    save(second, tmp_path)
    assert same(load(tmp_path, classes=[Mine]), second)


def test_tied_weights(tmp_path: Path) -> None:
    model = Tied()
    save(model, tmp_path)
    loaded = load(tmp_path, classes=[Tied])
    assert same(loaded, model)
    assert loaded.second.weight is loaded.first.weight  # type: ignore[union-attr]


def test_arguments_that_are_not_kept(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"does not keep its argument width; set self\.width"):
        save(Forgetful(3), tmp_path)
    assert list(tmp_path.iterdir()) == []
    model = Forgetful(3)
    save(model, tmp_path, arguments={"width": 3})
    assert same(load(tmp_path, classes=[Forgetful]), model)


def test_arguments_that_are_wrong_are_found_when_saving(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Wrong\(\*\*\{'width': 4\}\) has other weights"):
        save(Wrong(3), tmp_path)
    with pytest.raises(ValueError, match="Forgetful does not take these arguments"):
        save(Forgetful(3), tmp_path, arguments={"depth": 3})
    with pytest.raises(TypeError, match=r"Mine\.dtype is a dtype, which JSON cannot hold"):
        save(Mine(3, dtype=torch.float32), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_saving_draws_no_random_numbers(tmp_path: Path) -> None:
    model = Mine(3)
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    save(model, tmp_path)
    load(tmp_path, classes=[Mine])
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    "name",
    ["os:system", "torch.nn.modules.linear:Linear", "graphseq.cli:main", "graphseq", "", ":"],
)
def test_only_graphseqs_modules_are_made(tmp_path: Path, name: str) -> None:
    save(Mine(3), tmp_path)
    card = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps({**card, "class": name}))
    with pytest.raises(ValueError, match="no public class of graphseq"):
        load(tmp_path, classes=[Mine])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"class": "x", "arguments": 3}', "\x00"])
def test_damaged_card(tmp_path: Path, text: str) -> None:
    save(Mine(3), tmp_path)
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(ValueError, match=r"model\.json is damaged"):
        load(tmp_path, classes=[Mine])


def test_damaged_weights(tmp_path: Path) -> None:
    save(Mine(3), tmp_path)
    path = tmp_path / "model.safetensors"
    whole = path.read_bytes()
    for length in (0, 4, 20, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"model\.safetensors is damaged") as caught:
            load(tmp_path, classes=[Mine])
        assert "\n" not in str(caught.value)
    flipped = bytearray(whole)
    flipped[-3] ^= 4  # one bit of a weight
    path.write_bytes(flipped)
    with pytest.raises(ValueError, match=r"model\.safetensors is not what .*it is damaged"):
        load(tmp_path, classes=[Mine])
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"no weights at .*model\.safetensors"):
        load(tmp_path, classes=[Mine])


def test_weights_of_another_model(tmp_path: Path) -> None:
    save(Mine(3), tmp_path)
    replace_weights(tmp_path, Mine(4).state_dict())
    with pytest.raises(ValueError, match=r"model\.safetensors does not fit Mine: .*size mismatch"):
        load(tmp_path, classes=[Mine])
    replace_weights(tmp_path, {"other": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"missing \['layers.*unexpected \['other'\]"):
        load(tmp_path, classes=[Mine])


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no .*model\.json; save"):
        load(tmp_path / "nothing")


def test_weights_of_every_kind_of_tensor(tmp_path: Path) -> None:
    state = {
        "transposed": torch.arange(6.0).reshape(2, 3).T,
        "half": torch.ones(2, dtype=torch.bfloat16),
        "scalar": torch.tensor(3),
        "flags": torch.tensor([True, False]),
        "none": torch.zeros(0, 4),
    }
    write_weights(tmp_path / "w.safetensors", state)
    found = read_weights(tmp_path / "w.safetensors")
    assert all(torch.equal(found[k], v) and found[k].dtype == v.dtype for k, v in state.items())
    write_weights(tmp_path / "w.safetensors", {})
    assert read_weights(tmp_path / "w.safetensors") == {}


def test_state_that_is_no_tensor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="count is a int, which safetensors cannot hold"):
        write_weights(tmp_path / "w.safetensors", {"count": 3})
    assert list(tmp_path.iterdir()) == []


class Around(nn.Module):
    """A user's model with a part that it is told how to make."""

    def __init__(self, part: Any) -> None:
        super().__init__()
        self.part = part
        self.layer = part()


def test_an_argument_may_be_a_partial_of_a_module_class(tmp_path: Path) -> None:
    model = Around(partial(Around, part=partial(Mine, width=3, sizes=[4])))
    save(model, tmp_path)
    loaded = load(tmp_path, classes=[Around, Mine])
    assert same(loaded, model)
    assert loaded.part.keywords["part"].keywords == {"width": 3, "sizes": [4]}  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="Mine, which is no public class of graphseq"):
        load(tmp_path, classes=[Around])


@pytest.mark.parametrize(
    "part", [partial(torch.zeros, 3), partial(Mine, 3), partial(Mine, width=3, dtype=torch.zeros)]
)
def test_other_partials_are_refused(part: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="which JSON cannot hold"):
        save(Mine(3), tmp_path, arguments={"width": part})
