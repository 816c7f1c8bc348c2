"""Where datasets are looked for, and what is said when they are not there."""

from pathlib import Path

import pytest

from graphseq.files import cache_root, data_roots, fetch, find, search_roots


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHSEQ_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("GRAPHSEQ_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data", tmp_path / "cache" / "data"


def put(folder, relative, content="x"):
    (folder / relative).parent.mkdir(parents=True, exist_ok=True)
    (folder / relative).write_text(content)
    return folder / relative


def test_data_folder_comes_before_the_download_folder(folders):
    data, downloads = folders
    assert data_roots() == [data, downloads]
    fetched = put(downloads, "a/b.txt")
    assert find("a/b.txt") == fetched
    own = put(data, "a/b.txt")
    assert find("a/b.txt") == own


def test_without_variables_everything_is_in_the_home_cache(monkeypatch):
    monkeypatch.delenv("GRAPHSEQ_DATA", raising=False)
    monkeypatch.delenv("GRAPHSEQ_CACHE", raising=False)
    assert cache_root() == Path.home() / ".cache" / "graphseq"
    assert data_roots() == [cache_root() / "data"]


def test_a_named_root_replaces_the_data_folder(folders, tmp_path):
    put(folders[0], "a.txt")
    with pytest.raises(FileNotFoundError):
        find("a.txt", root=tmp_path / "other")
    assert find("a.txt", root=folders[0]) == folders[0] / "a.txt"
    assert search_roots(tmp_path / "other") == [tmp_path / "other", folders[1]]


def test_missing_file_names_the_place_the_folders_and_both_remedies(folders):
    data, downloads = folders
    with pytest.raises(FileNotFoundError) as caught:
        find("cora/raw/x", url="https://example.org/x")
    message = str(caught.value)
    for part in ("cora/raw/x", str(data), str(downloads), "put it there"):
        assert part in message
    assert "download=True, on a command line --data.download (https://example.org/x)" in message
    assert "\n" not in message


@pytest.mark.parametrize("kind", ["absent", "file"])
def test_a_data_variable_that_names_no_folder_is_named_itself(folders, monkeypatch, kind):
    data, downloads = folders
    wrong = data / "datasets"
    if kind == "file":
        wrong.write_text("x")
    put(downloads, "a.txt")  # also where the file would be found elsewhere
    monkeypatch.setenv("GRAPHSEQ_DATA", str(wrong))
    with pytest.raises(FileNotFoundError) as caught:
        find("a.txt", url="https://example.org/a", download=True)
    message = str(caught.value)
    assert f"GRAPHSEQ_DATA names {wrong}, which is no folder; let it name" in message
    assert f"unset it to use {downloads} alone" in message
    assert "\n" not in message
    assert find("a.txt", root=data) == downloads / "a.txt"  # the variable is not asked


def test_download_goes_to_the_cache_and_only_when_asked_for(folders, monkeypatch):
    data, downloads = folders
    calls = []

    def fake_fetch(url, path, *, sha256=None):
        calls.append((url, path, sha256))
        put(path.parent, path.name)

    monkeypatch.setattr("graphseq.files.roots.fetch", fake_fetch)
    with pytest.raises(FileNotFoundError):
        find("a/b.txt", url="https://example.org/b")
    assert calls == []
    found = find("a/b.txt", url="https://example.org/b", sha256="00", download=True)
    assert found == downloads / "a/b.txt"
    assert calls == [("https://example.org/b", found, "00")]
    assert list(data.iterdir()) == []
    assert find("a/b.txt", url="https://example.org/b", download=True) == found
    assert len(calls) == 1


def test_download_without_a_known_address_is_still_a_missing_file(folders):
    with pytest.raises(FileNotFoundError, match="put it there"):
        find("a.txt", download=True)


@pytest.mark.parametrize("relative", ["../secret", "/etc/passwd", "a/../../b"])
def test_a_name_cannot_leave_the_data_folder(folders, relative):
    with pytest.raises(ValueError, match="stay below"):
        find(relative)


def test_fetch_is_https_only(tmp_path):
    with pytest.raises(ValueError, match="https://"):
        fetch("http://example.org/x", tmp_path / "x")
    assert list(tmp_path.iterdir()) == []
