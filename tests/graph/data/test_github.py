"""GitHub: a small file in the form of the real one, which we have not seen; broken ones."""

import numpy as np
import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.transforms import NormalizeFeatures

from graphseq.graph.data import five_folds, five_link_splits, github

pytestmark = pytest.mark.usefixtures("generators_untouched")

N = 90


@pytest.fixture
def github_file(tmp_path):
    """The arrays of a small graph, and a function that writes them where github() looks."""
    dice = np.random.default_rng(0)
    pairs = dice.integers(0, N, (300, 2))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    arrays = {
        "edges": np.concatenate([pairs, pairs[:, ::-1], [[5, 5]], pairs[:3]]),  # loop, repetitions
        "features": dice.normal(size=(N, 12)),
        "target": np.arange(N) % 2,
    }

    def write(**changes):
        path = tmp_path / "github/raw/github.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, **{**arrays, **changes})
        return path

    return arrays, write


def test_graph_features_and_classes(github_file, tmp_path):
    arrays, write = github_file
    write()
    data = github(root=str(tmp_path), normalize=False)
    expected = np.zeros((N, N), dtype=bool)
    expected[arrays["edges"][:, 0], arrays["edges"][:, 1]] = True
    np.fill_diagonal(expected, False)
    np.testing.assert_array_equal(data.adjacency.csr.to_dense().numpy(), expected)
    assert data.adjacency.is_symmetric
    np.testing.assert_array_equal(data.x.numpy(), arrays["features"].astype(np.float32))
    assert data.y.tolist() == arrays["target"].tolist()
    assert (data.num_classes, data.name) == (2, "GitHub")
    assert torch.equal(torch.cat(list(data.splits.values())).sort().values, torch.arange(N))
    assert [part.numel() for part in data.splits.values()] == [58, 14, 18]
    assert github(root=str(tmp_path), seed=1).fingerprint != data.fingerprint


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_features_are_normalised_as_in_pyg(github_file, tmp_path, scale):
    arrays, write = github_file
    features = scale * arrays["features"]  # after the shift, small ones sum to less than 1
    write(features=features)
    expected = NormalizeFeatures()(Data(x=torch.from_numpy(features))).x
    found = github(root=str(tmp_path)).x
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected.float())
    assert (found.sum(1) < 1.0001).all()


def test_whole_numbers_in_any_type(github_file, tmp_path):
    arrays, write = github_file
    write()
    fingerprint = github(root=str(tmp_path)).fingerprint
    for kind in (np.int32, np.uint16, np.float64):
        write(edges=arrays["edges"].astype(kind), target=arrays["target"].astype(kind))
        assert github(root=str(tmp_path)).fingerprint == fingerprint


def test_folds_and_links(github_file, tmp_path):
    _, write = github_file
    write()
    root = str(tmp_path)
    whole = github(root=root)
    folds = [five_folds("GitHub", seed=seed, root=root) for seed in range(5)]
    assert torch.equal(torch.cat([fold.test for fold in folds]).sort().values, torch.arange(N))
    for fold in folds:
        assert torch.equal(fold.x, whole.x)
        assert torch.equal(fold.y, whole.y)
        assert torch.equal(fold.adjacency.edge_index, whole.adjacency.edge_index)
    links = five_link_splits("GitHub", root=root)
    assert torch.equal(links.x, whole.x)
    num = sum(links.parts[part].shape[1] for part in ("train", "val", "test"))
    assert 2 * num == whole.adjacency.num_edges
    assert links.train_negative.shape == links.train.shape


def test_missing_file_and_download(github_file, tmp_path, monkeypatch):
    _, write = github_file
    served = write().read_bytes()
    monkeypatch.setenv("GRAPHSEQ_CACHE", str(tmp_path / "cache"))
    root, asked = str(tmp_path / "nothing"), []
    monkeypatch.setattr("graphseq.files.download._chunks", lambda *a: asked.append(a) or [served])
    with pytest.raises(FileNotFoundError, match=r"github/raw/github\.npz is not in .*graphmining"):
        github(root=root)
    assert asked == []
    assert github(root=root, download=True).num_nodes == N
    assert asked[0][0] == "https://graphmining.ai/datasets/ptg/github.npz"
    assert (tmp_path / "cache/data/github/raw/github.npz").read_bytes() == served


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"edges": np.zeros((2, 5), int)}, r"edges of shape \(2, 5\)"),
        ({"edges": np.full((5, 2), 0.5)}, r"edges of shape \(5, 2\) and type float64"),
        ({"edges": np.full((5, 2), np.nan)}, r"edges of shape \(5, 2\) and type float64"),
        ({"edges": np.full((5, 2), "a")}, "edges of shape"),
        ({"edges": np.full((5, 2), N)}, "edge number 0 joins 90 and 90"),
        ({"features": np.zeros(N)}, r"features of shape \(90,\)"),
        ({"features": np.zeros((0, 4))}, r"features of shape \(0, 4\)"),
        ({"features": np.full((N, 4), "a")}, "features of shape"),
        ({"features": np.full((N, 4), np.inf)}, "NaN or infinite features"),
        ({"target": np.zeros(N - 1, int)}, r"target of shape \(89,\) .* for each of 90 nodes"),
        ({"target": np.full(N, -1)}, "counted from 0"),
        ({"target": np.full(N, 0.5)}, "target of shape"),
        ({"target": np.array([{}] * N, dtype=object)}, "cannot be read"),
    ],
)
def test_arrays_that_do_not_fit_are_named(github_file, tmp_path, changes, words):
    _, write = github_file
    write(**changes)
    with pytest.raises(ValueError, match=words) as caught:
        github(root=str(tmp_path))
    assert "github.npz" in str(caught.value)
    assert "download it again" in str(caught.value)


def test_damaged_and_incomplete_files_are_named(github_file, tmp_path):
    arrays, write = github_file
    path = write()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"github\.npz is not a complete npz file"):
        github(root=str(tmp_path))
    np.savez(path, edges=arrays["edges"], features=arrays["features"])
    with pytest.raises(ValueError, match=r"github\.npz holds no array 'target'"):
        github(root=str(tmp_path))
