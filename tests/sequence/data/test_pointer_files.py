"""Files of the published format come back as written, and what is wrong is named by its line."""

import sys

import pytest
import torch

from graphseq.files import find
from graphseq.sequence.data import (
    hulls,
    pointer_files,
    read_pointer_file,
    tours,
    write_pointer_file,
)
from graphseq.sequence.data.labels import hull_pointers

# the package's attribute of this name is the function
module = sys.modules["graphseq.sequence.data.pointer_files"]
LINE = "0.5 0 1 0.25 0 1e-3 output 1 2 3 1 \n"


def write(tmp_path, text, name="some.txt"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_read(tmp_path):
    read = read_pointer_file(write(tmp_path, LINE + "0 0 1 0 1 1 0 1 output 1 2 3 4 1"))
    assert read.lengths.tolist() == [3, 4]
    assert read.points[0].tolist() == [[0.5, 0], [1, 0.25], [0, 1e-3], [0, 0]]
    assert read.targets.tolist() == [[1, 2, 3, 1, 0, -100], [1, 2, 3, 4, 1, 0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_round_trip(tmp_path, monkeypatch, dtype):
    monkeypatch.setattr(module, "_PIECE", 4)
    data = hulls(num_nodes=(3, 7), num_train=10, num_val=1, num_test=1)
    points = data.points.to(dtype) / (1 if dtype == torch.float32 else 3)
    write_pointer_file(tmp_path / "file", points, data.targets, data.lengths)
    read = read_pointer_file(tmp_path / "file")
    assert read.points.to(dtype).equal(points)
    assert read.targets.equal(data.targets)
    assert read.lengths.equal(data.lengths)
    assert len(read_pointer_file(tmp_path / "file", max_instances=5).lengths) == 5


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 2 3 4\n", r"must be 'x1 y1 \.\.\. output i1 i2 \.\.\.', got '1 2 3 4'"),
        ("\n", "must be"),
        ("1 2 3 output 1\n", "must be"),
        ("1 2 output\n", "must be"),
        ("1 x output 1\n", "could not convert string to float: 'x'"),
        ("1 2 output 1.5\n", "invalid literal"),
        ("1 nan output 1\n", "a coordinate is not finite"),
        ("1 2 3 4 output 1 3\n", r"pointers must lie in 1 \.\. 2, got 1 \.\. 3"),
        ("1 2 3 4 output 1 0\n", r"pointers must lie in 1 \.\. 2, got 0 \.\. 1"),
        ("1 " * 2002 + "output 1\n", "has 1001 points and 1 pointers; at most 1000"),
    ],
)
def test_names_the_line(tmp_path, line, message):
    with pytest.raises(ValueError, match=f"some.txt, line 2: .*{message}") as raised:
        read_pointer_file(write(tmp_path, LINE + line))
    assert "\n" not in str(raised.value)


def test_refuses_files(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="holds no instance"):
        read_pointer_file(write(tmp_path, ""))
    with pytest.raises(FileNotFoundError):
        read_pointer_file(tmp_path / "none")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="bytes is not a complete text file"):
        read_pointer_file(tmp_path / "bytes")
    monkeypatch.setattr(module, "MAX_BYTES", 10)
    with pytest.raises(ValueError, match="is longer than 10 bytes"):
        read_pointer_file(write(tmp_path, LINE))


def test_writer_refuses(tmp_path):
    points, targets = torch.rand(2, 3, 2), torch.tensor([[1, 2, 3, 1, 0], [0, 1, 2, 3, 1]])
    with pytest.raises(ValueError, match="write_pointer_file: points must be"):
        write_pointer_file(tmp_path / "file", points, targets[:1])
    with pytest.raises(ValueError, match="write_pointer_file: target 1 has no pointer"):
        write_pointer_file(tmp_path / "file", points, targets)
    assert not (tmp_path / "file").exists()


def test_a_problem_from_files(tmp_path):
    made = tours(num_nodes=(4, 6), num_train=25, num_val=5, num_test=5)
    for split, rows in made.splits.items():
        write_pointer_file(tmp_path / split, *made.take(rows))
    paths = {split: tmp_path / split for split in made.splits}
    assert pointer_files(kind="tour", **paths).fingerprint == made.fingerprint
    del paths["val"]
    data = pointer_files(kind="tour", **paths)
    assert {split: len(rows) for split, rows in data.splits.items()} == {
        "train": 24,
        "val": 1,
        "test": 5,
    }
    with pytest.raises(ValueError, match=r"num_val is 25, but .* has 25 instances"):
        pointer_files(kind="tour", **paths, num_val=25)


@pytest.mark.real_data
def test_published_hulls():
    read = read_pointer_file(find("pointer_networks/convex_hull_5_test.txt"))
    assert read.points.shape == (10_000, 5, 2)
    ours = torch.from_numpy(hull_pointers(read.points.numpy()))
    assert ours.equal(read.targets)
