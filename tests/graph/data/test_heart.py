"""HeaRT's published files, on small folders of the same layout."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from graphseq import run
from graphseq.graph.data import heart_links
from graphseq.training.catalog import shipped

NUM_NODES, SIZES = 50, {"train": 90, "valid": 8, "test": 12}

spec = importlib.util.spec_from_file_location(
    "ogb_writer", Path(__file__).with_name("test_ogb_links.py")
)
writer = importlib.util.module_from_spec(spec)
spec.loader.exec_module(writer)


def write_candidates(folder, sizes, num_nodes=NUM_NODES, num=500):
    dice = np.random.default_rng(1)
    folder.mkdir(parents=True, exist_ok=True)
    found = {part: dice.integers(0, num_nodes, (sizes[part], num, 2)) for part in ("valid", "test")}
    for part, samples in found.items():
        np.save(folder / f"heart_{part}_samples.npy", samples)
    return found


@pytest.fixture
def cora(tmp_path, monkeypatch):
    """Folder, links and candidates of a small Cora."""
    monkeypatch.setenv("GRAPHSEQ_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "heart/cora"
    candidates = write_candidates(folder, SIZES)
    drawn = np.random.default_rng(0).permutation(8 * NUM_NODES)[: sum(SIZES.values())]
    source = drawn // 8
    pairs = np.stack([source, (source + 1 + drawn % 8) % NUM_NODES], 1)
    ends = np.cumsum(list(SIZES.values()))[:-1]
    links = dict(zip(SIZES, np.split(pairs, ends), strict=True))
    for part in SIZES:
        np.savetxt(folder / f"{part}_pos.txt", links[part], fmt="%d", delimiter="\t")
    x = (torch.rand(NUM_NODES, 7, generator=torch.Generator().manual_seed(0)) > 0.7).float()
    torch.save({"entity_embedding": x}, folder / "gnn_feature")
    return folder, links, candidates, x


def load(folder, **arguments):
    return heart_links("Cora", root=str(folder.parents[1]), **arguments)


def test_planetoid(cora, dense):
    folder, links, candidates, x = cora
    data = load(folder)
    for ours, theirs in (("train", "train"), ("val", "valid"), ("test", "test")):
        np.testing.assert_array_equal(getattr(data, ours).numpy(), links[theirs].T)
        if ours != "train":
            negative = getattr(data, f"{ours}_negative")
            assert negative.dtype == torch.int32
            np.testing.assert_array_equal(negative.permute(1, 2, 0).numpy(), candidates[theirs])
    assert torch.equal(dense(data.x), x)
    assert torch.equal(load(folder, sparse=False).x, x)
    assert (data.metric, data.name, data.num_nodes) == ("mrr", "Cora (HeaRT)", NUM_NODES)


def test_lines_that_join_a_node_with_itself_are_left_out(cora):
    folder, links, *_ = cora
    with open(folder / "test_pos.txt", "a") as file:
        file.write("3\t3\n")
    np.testing.assert_array_equal(load(folder).test.numpy(), links["test"].T)


def write_ogb(data, name, num=500):
    """An OGB dataset with HeaRT's files; the OGB part, the candidates and the chosen positions."""
    files = writer.Written(data, name)
    sizes = dict(writer.SIZES)
    chosen = {"valid": torch.arange(sizes["valid"]), "test": torch.arange(sizes["test"])}
    folder = data / "heart" / name
    folder.mkdir(parents=True)
    if name == "ogbl-ppa":
        chosen = {"valid": torch.tensor([5, 3, 30]), "test": torch.tensor([1, 29])}
        sizes = {part: len(index) for part, index in chosen.items()}
        for part, index in chosen.items():
            torch.save(index, folder / f"{part}_samples_index.pt")
    return files, write_candidates(folder, sizes, writer.NUM_NODES, num), chosen


@pytest.mark.parametrize("name", writer.LOADERS)
def test_ogb(tmp_path, monkeypatch, name):
    monkeypatch.setenv("GRAPHSEQ_CACHE", str(tmp_path / "cache"))
    files, candidates, chosen = write_ogb(tmp_path, name)
    base, data = files.load(), heart_links(name, root=str(tmp_path))
    for ours, theirs in (("val", "valid"), ("test", "test")):
        assert torch.equal(getattr(data, ours), getattr(base, ours)[:, chosen[theirs]])
        negative = getattr(data, f"{ours}_negative")
        np.testing.assert_array_equal(negative.permute(1, 2, 0).numpy(), candidates[theirs])
    assert torch.equal(data.train, base.train)
    assert data.dims == base.dims
    assert (data.metric, data.name) == ("mrr", f"{name} (HeaRT)")
    assert (data.official, base.official) == (None, name)  # OGB knows no such candidates


def test_other_names_of_ogb_folders_and_files(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHSEQ_CACHE", str(tmp_path / "cache"))
    write_ogb(tmp_path, "ogbl-ppa")
    fingerprint = heart_links("ogbl-ppa", root=str(tmp_path)).fingerprint
    folder = (tmp_path / "heart/ogbl-ppa").rename(tmp_path / "heart/ogbl_ppa")
    assert heart_links("ogbl-ppa", root=str(tmp_path)).fingerprint == fingerprint
    for file in list(folder.glob("heart_*")):
        file.rename(folder / file.name.removeprefix("heart_"))
    assert heart_links("ogbl-ppa", root=str(tmp_path)).fingerprint == fingerprint


@pytest.mark.parametrize("graph", ["cora", "collab", "ppa", "citation2"])
@pytest.mark.parametrize("method", ["ncn", "ncnc", "ra"])
def test_two_steps_of_the_shipped_experiment(cora, tmp_path, monkeypatch, method, graph):
    if graph != "cora":
        write_ogb(tmp_path, f"ogbl-{graph}", num=30)
    monkeypatch.setenv("GRAPHSEQ_DATA", str(tmp_path))
    experiment = shipped()[f"{method}_heart_{graph}"]
    budget = replace(experiment.budget, epochs=2, max_steps=1, evaluate_every=1)
    summary = run(replace(experiment, budget=budget), [0], progress=False)
    assert summary["epochs"] == [0 if method == "ra" else 2]
    assert 0 < summary["metrics"]["test/mrr"]["mean"] <= 1
    assert experiment.claim is None or experiment.claim.metric == "test/mrr"


def test_missing_folders_are_told_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHSEQ_DATA", str(tmp_path))
    monkeypatch.setenv("GRAPHSEQ_CACHE", str(tmp_path / "cache"))
    experiment = shipped()["cn_heart_ppa"]
    with pytest.raises(FileNotFoundError) as caught:
        run(experiment, [0], progress=False)
    message = str(caught.value)
    assert f"heart/ogbl-ppa/heart_valid_samples.npy is not in {tmp_path}" in message
    assert "HeaRT-Data/dataset.tar.gz, whose folder dataset/ogbl-ppa belongs at" in message
    assert "valid_samples_index.pt, test_samples_index.pt" in message
    assert "\n" not in message


def test_missing_files_say_where_they_are(cora):
    folder = cora[0]
    for file in sorted(folder.iterdir()):
        content = file.read_bytes()
        file.unlink()
        with pytest.raises(FileNotFoundError, match=f"heart/cora/{file.name}.*HeaRT publishes it"):
            load(folder)
        file.write_bytes(content)
    with pytest.raises(ValueError, match=r"name must be in .* got 'cora'"):
        heart_links("cora")


@pytest.mark.parametrize("file", ["heart_valid_samples.npy", "gnn_feature"])
def test_truncated_files_are_named(cora, file):
    path = cora[0] / file
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=file):
        load(cora[0])


def test_objects_in_an_array_are_refused(cora):
    path = cora[0] / "heart_test_samples.npy"
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"heart_test_samples\.npy holds an array that cannot"):
        load(cora[0])


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (np.zeros((8, 500)), r"must hold whole numbers \[P, K, 2\], got shape \(8, 500\)"),
        (np.zeros((8, 500, 3), int), r"must hold whole numbers \[P, K, 2\]"),
        (np.zeros((7, 500, 2), int), "for 7 links, but there are 8 val links"),
        (np.full((8, 500, 2), 2**32), "must hold node ids 0 .. 49"),
        (np.full((8, 500, 2), -1), "must hold node ids 0 .. 49"),
        (np.zeros((8, 0, 2), int), "one candidate or more"),
    ],
)
def test_candidates_that_do_not_fit(cora, samples, words):
    np.save(cora[0] / "heart_valid_samples.npy", samples)
    with pytest.raises(ValueError, match=rf"heart_valid_samples\.npy.*{words}"):
        load(cora[0])


def test_other_parts_that_do_not_fit(cora, tmp_path):
    folder = cora[0]
    (folder / "train_pos.txt").write_text("0\t50\n")
    with pytest.raises(ValueError, match=r"train_pos\.txt must hold node ids 0 \.\. 49"):
        load(folder)
    torch.save({"x": 1}, folder / "gnn_feature")
    with pytest.raises(ValueError, match="gnn_feature holds no table of features"):
        load(folder)


@pytest.mark.parametrize(
    ("index", "words"),
    [
        (torch.tensor([40]), r"positions outside of 0 \.\. 39"),
        (torch.zeros(0), "no list of positions"),
        (torch.zeros(2, 2).long(), "no list of positions"),
    ],
)
def test_positions_that_do_not_fit(tmp_path, monkeypatch, index, words):
    monkeypatch.setenv("GRAPHSEQ_CACHE", str(tmp_path / "cache"))
    write_ogb(tmp_path, "ogbl-ppa")
    torch.save(index, tmp_path / "heart/ogbl-ppa/valid_samples_index.pt")
    with pytest.raises(ValueError, match=rf"valid_samples_index\.pt .*{words}"):
        heart_links("ogbl-ppa", root=str(tmp_path))
