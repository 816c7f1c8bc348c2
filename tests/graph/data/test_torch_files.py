"""Files of torch.save in every protocol and both layouts; hostile and damaged ones are refused."""

import os
import random
import zipfile

import numpy as np
import pytest
import torch

from graphseq.graph.data.ogb import load_pt
from graphseq.graph.data.torch_files import load_torch

LAYOUTS = {"zip": True, "stream": False}


def write(path, content, layout, protocol):
    zipped = LAYOUTS[layout]
    torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    return path


@pytest.fixture(params=LAYOUTS)
def layout(request):
    return request.param


@pytest.fixture(params=[2, 3, 4, 5])
def protocol(request):
    return request.param


def contents():
    wide = torch.arange(12.0).view(3, 4)
    return {
        "edge": np.arange(6).reshape(3, 2),
        "fortran": np.asfortranarray(np.arange(6, dtype=np.int32).reshape(3, 2)),
        "strided": np.arange(20)[::3],
        "none": np.empty((0, 2), np.float32),
        "nested": {
            "valid": {"edge_neg": np.arange(4.0)},
            "list": [1, "two", None, (np.arange(2),)],
        },
        "long": torch.arange(5),
        "view": wide.t()[1:],
        "shared": [wide, wide[1]],
        "scalar": torch.tensor(2.5, dtype=torch.float64),
        "flags": torch.tensor([True, False]),
        "empty": torch.empty(0, 3),
    }


def same(found, expected):
    assert type(found) is type(expected)
    if isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
        assert found.flags.writeable
    elif isinstance(expected, torch.Tensor):
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            same(found[key], expected[key])
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for parts in zip(found, expected, strict=True):
            same(*parts)
    else:
        assert found == expected


@pytest.mark.parametrize("load", [load_pt, load_torch])
def test_round_trip(tmp_path, layout, protocol, load):
    same(load(write(tmp_path / "a.pt", contents(), layout, protocol)), contents())


class Call:
    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (os.mkdir, ("was-run",)),
        (eval, ("__import__('os').mkdir('was-run')",)),
        (torch.load, ("a",)),
    ],
)
def test_code_is_refused_by_name_and_never_runs(
    tmp_path, monkeypatch, layout, protocol, function, arguments
):
    monkeypatch.chdir(tmp_path)
    content = {"edge": np.arange(6), "deep": [(Call(function, *arguments),)]}
    path = write(tmp_path / "train.pt", content, layout, protocol)
    with pytest.raises(ValueError, match=rf"train\.pt .*asks to run \S+\.{function.__name__}\)"):
        load_pt(path)
    assert not (tmp_path / "was-run").exists()


def test_damage_is_a_one_line_error_or_no_damage(tmp_path, layout):
    path = write(tmp_path / "train.pt", contents(), layout, 4)
    whole, dice = path.read_bytes(), random.Random(0)
    damaged = [whole[: dice.randrange(len(whole))] for _ in range(150)]
    for _ in range(300):
        flipped = bytearray(whole)
        flipped[dice.randrange(len(whole))] ^= 1 << dice.randrange(8)
        damaged.append(bytes(flipped))
    messages = []
    for content in damaged:
        path.write_bytes(content)
        try:
            load_pt(path)  # may hold other numbers: the older layout has no checksums
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) >= 150  # the truncations, at least
    assert all("train.pt is not a complete file of arrays" in message for message in messages)
    assert all("\n" not in message for message in messages)


class Rebuild:
    """Pickles as a tensor whose parts do not fit its storage of 4 numbers."""

    def __init__(self, offset, size, stride):
        self.view = (offset, size, stride)

    def __reduce__(self):
        storage = torch.storage.TypedStorage(
            wrap_storage=torch.arange(4).untyped_storage(), dtype=torch.int64, _internal=True
        )
        return torch._utils._rebuild_tensor_v2, (storage, *self.view, False, {})


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [(1, (4,), (1,)), (0, (4,), (2,)), (0, (2**40,), (0,)), (-1, (2,), (1,)), (3, (2,), (-1,))],
)
def test_views_outside_of_their_storage(tmp_path, layout, offset, size, stride):
    content = {"edge": Rebuild(offset, size, stride)}
    with pytest.raises(ValueError, match=r"train\.pt is not a complete file of arrays"):
        load_pt(write(tmp_path / "train.pt", content, layout, 4))


def test_numbers_of_other_machines_are_refused(tmp_path):
    path = write(tmp_path / "a.pt", {"x": torch.arange(3)}, "zip", 4)
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(tmp_path / "b.pt", "w") as target:
        for name in source.namelist():
            target.writestr(name, b"big" if name.endswith("byteorder") else source.read(name))
    assert load_torch(path)["x"].tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="big-endian"):
        load_torch(tmp_path / "b.pt")


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_torch(tmp_path / "none.pt")
