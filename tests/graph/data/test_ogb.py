"""OGB folders: versions, downloads and split files, without prompts and without running code."""

import gzip
import os
import zipfile

import numpy as np
import pytest
import torch

from graphseq.graph.data.ogb import Release, load_arrays, numpy_globals, ogb_folder, read_table

TOY = Release(name="ogbl-toy", version=2, url="https://example.org/toy.zip", top="toyset")


@pytest.fixture
def places(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHSEQ_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("GRAPHSEQ_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked a question"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data", tmp_path / "cache" / "data"


def make(folder, version=2):
    folder.mkdir(parents=True)
    (folder / f"RELEASE_v{version}.txt").write_text("")
    return folder


@pytest.mark.parametrize("below", ["ogb/ogbl_toy", "ogbl_toy"])
def test_found_where_ogb_leaves_it(places, below):
    folder = make(places[0] / below)
    assert ogb_folder(TOY, root=None, download=False) == folder
    assert ogb_folder(TOY, root=places[0], download=False) == folder


def test_missing_folder_names_the_remedies(places):
    with pytest.raises(FileNotFoundError, match="ogbl-toy is not in") as caught:
        ogb_folder(TOY, root=None, download=False)
    for part in (
        str(places[0] / "ogb"),
        "put the folder ogbl_toy there",
        "download=True, on a",
        "--data.download",
    ):
        assert part in str(caught.value)


def test_another_version_is_an_error_that_names_the_flag(places):
    old = make(places[0] / "ogbl_toy", version=1)
    with pytest.raises(ValueError, match="is not version 2 of ogbl-toy") as caught:
        ogb_folder(TOY, root=None, download=False)
    assert "pass download=True" in str(caught.value)
    assert "--data.download" in str(caught.value)
    assert str(old) in str(caught.value)


def serve(monkeypatch, top="toyset"):
    def fake_fetch(url, path):
        assert url == TOY.url
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as zipped:
            zipped.writestr(f"{top}/RELEASE_v2.txt", "")
            zipped.writestr(f"{top}/raw/edge.csv.gz", "content")

    monkeypatch.setattr("graphseq.graph.data.ogb.fetch", fake_fetch)


def test_download_unpacks_into_the_cache_beside_an_old_version(places, monkeypatch):
    old = make(places[0] / "ogbl_toy", version=1)
    serve(monkeypatch)
    folder = ogb_folder(TOY, root=None, download=True)
    assert folder == places[1] / "ogb" / "ogbl_toy"
    assert (folder / "raw/edge.csv.gz").read_text() == "content"
    assert {entry.name for entry in folder.parent.iterdir()} == {"ogbl_toy"}
    assert {entry.name for entry in old.iterdir()} == {"RELEASE_v1.txt"}
    assert ogb_folder(TOY, root=None, download=False) == folder


def test_a_wrong_archive_leaves_nothing(places, monkeypatch):
    serve(monkeypatch, top="other")
    with pytest.raises(ValueError, match="holds no folder 'toyset'"):
        ogb_folder(TOY, root=None, download=True)
    assert list((places[1] / "ogb").iterdir()) == []


def test_an_old_version_in_the_cache_is_replaced(places, monkeypatch):
    make(places[1] / "ogb" / "ogbl_toy", version=1)
    serve(monkeypatch)
    folder = ogb_folder(TOY, root=None, download=True)
    assert (folder / "RELEASE_v2.txt").is_file()
    assert not (folder / "RELEASE_v1.txt").exists()


def test_table_round_trip_and_damage(tmp_path):
    path = tmp_path / "edge.csv.gz"
    with gzip.open(path, "wt") as file:
        file.writelines(f"{i},{i + 1}\n" for i in range(2000))
    table = read_table(path, np.int64)
    np.testing.assert_array_equal(table[:, 1], np.arange(1, 2001))
    assert torch.from_numpy(table).shape == (2000, 2)  # no warning: the memory can be written
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:5], b"", b"1,2\n3,4\n"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"edge\.csv\.gz is not a (complete csv|table)"):
            read_table(path, np.int64)
    for text in ("1,2\n3,4,5\n", "1,2\n3,x\n", "1,2\n3\n", "1,2\n,4\n", "1,2\n3,4.5\n"):
        with gzip.open(path, "wt") as file:
            file.write(text)
        with pytest.raises(ValueError, match=r"edge\.csv\.gz is not a table of numbers"):
            read_table(path, np.int64)
        if "4.5" not in text:
            with pytest.raises(ValueError, match=r"edge\.csv\.gz is not a table of numbers"):
                read_table(path, np.float32)
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "none.csv.gz", np.int64)


def test_split_file_with_arrays(tmp_path):
    content = {"edge": np.arange(6).reshape(3, 2), "weight": np.ones(3, np.float32), "count": 3}
    content["tensor"] = torch.arange(3)
    torch.save(content, tmp_path / "train.pt")
    loaded = load_arrays(tmp_path / "train.pt")
    assert loaded["edge"].tolist() == content["edge"].tolist()
    assert loaded["weight"].dtype == torch.float32
    assert loaded["count"] == 3
    assert torch.equal(loaded["tensor"], content["tensor"])


class Evil:
    def __reduce__(self):
        return os.mkdir, ("was-run",)


def test_split_file_with_code_is_refused_and_never_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"edge": Evil()}, tmp_path / "train.pt")
    with pytest.raises(ValueError, match=r"train\.pt is not a complete file of arrays .*mkdir"):
        load_arrays(tmp_path / "train.pt")
    assert not (tmp_path / "was-run").exists()


def test_damaged_split_file_is_named(tmp_path):
    path = tmp_path / "train.pt"
    torch.save({"edge": np.arange(100)}, path)
    whole = path.read_bytes()
    for content in (b"", whole[:100], whole[: len(whole) // 2], b"text"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"train\.pt is not a complete file") as caught:
            load_arrays(path)
        assert "\n" not in str(caught.value)
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match=r"train\.pt holds a list, not a dict"):
        load_arrays(path)
    with pytest.raises(FileNotFoundError):
        load_arrays(tmp_path / "none.pt")


def test_arrays_are_allowed_inside_of_the_block_only(tmp_path):
    torch.save(np.arange(3), tmp_path / "a.pt")
    load = torch.load
    with numpy_globals():
        assert torch.load(tmp_path / "a.pt", weights_only=True).tolist() == [0, 1, 2]
    with pytest.raises(Exception, match="Unsupported"):
        torch.load(tmp_path / "a.pt", weights_only=True)
    assert torch.load is load


@pytest.mark.real_data
def test_the_real_split_of_ogbl_ddi(data_root):
    folder = data_root / "ogb/ogbl_ddi/split/target"
    sizes = {"train": (1067911, 0), "valid": (133489, 101882), "test": (133489, 95599)}
    for part, (positive, negative) in sizes.items():
        loaded = load_arrays(folder / f"{part}.pt")
        assert loaded["edge"].shape == (positive, 2)
        assert len(loaded.get("edge_neg", [])) == negative
        assert 0 <= int(loaded["edge"].min()) <= int(loaded["edge"].max()) < 4267
    release = Release(name="ogbl-ddi", version=1, url="https://example.org/ddi.zip", top="ddi")
    assert ogb_folder(release, root=None, download=False) == data_root / "ogb/ogbl_ddi"
    edges = read_table(data_root / "ogb/ogbl_ddi/raw/edge.csv.gz", np.int64)
    assert edges.shape == (1067911, 2)
