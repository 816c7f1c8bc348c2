"""Archives are unpacked inside of their folder, whole, or not at all."""

import stat
import zipfile

import pytest

from graphseq.files import extract_zip


def make(path, entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in entries.items():
            zipped.writestr(name, content)
    return path


def test_unpacks_one_top_folder_and_drops_its_name(tmp_path):
    entries = {"top/a.txt": "1", "top/deep/b.txt": "2", "__MACOSX/top/a.txt": "junk"}
    archive = make(tmp_path / "a.zip", entries)
    extract_zip(archive, tmp_path / "out", top="top")
    files = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.txt")}
    assert files == {"a.txt", "deep/b.txt"}
    assert (tmp_path / "out/deep/b.txt").read_text() == "2"
    assert {entry.name for entry in tmp_path.iterdir()} == {"a.zip", "out"}


@pytest.mark.parametrize("name", ["../evil", "top/../../evil", "/evil", "top/c:evil", "..\\evil"])
def test_an_entry_that_would_leave_the_folder_stops_everything(tmp_path, name):
    archive = make(tmp_path / "a.zip", {"top/a.txt": "1", name: "2"})
    with pytest.raises(ValueError, match="unsafe entry"):
        extract_zip(archive, tmp_path / "out", top="top")
    assert {entry.name for entry in tmp_path.iterdir()} == {"a.zip"}


def test_links_are_refused(tmp_path):
    link = zipfile.ZipInfo("top/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        zipped.writestr(link, "/etc/passwd")
    with pytest.raises(ValueError, match="unsafe entry 'top/link'"):
        extract_zip(tmp_path / "a.zip", tmp_path / "out", top="top")


def test_size_is_bounded(tmp_path):
    archive = make(tmp_path / "bomb.zip", {"top/zeros": bytes(10_000_000)})
    assert archive.stat().st_size < 100_000
    with pytest.raises(ValueError, match="unpacks to 10000000 bytes"):
        extract_zip(archive, tmp_path / "out", top="top", max_bytes=1_000_000)
    assert not (tmp_path / "out").exists()


def test_broken_archive_names_the_file_and_leaves_nothing(tmp_path):
    archive = make(tmp_path / "a.zip", {"top/a.txt": "1" * 1000, "top/b.txt": "2" * 1000})
    whole = archive.read_bytes()
    broken = bytearray(whole)
    broken[45] ^= 0xFF  # inside the packed content of the first entry
    for content in (whole[: len(whole) // 2], bytes(broken), b"<html>not found</html>"):
        archive.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.zip is not a complete zip file"):
            extract_zip(archive, tmp_path / "out", top="top")
        assert {entry.name for entry in tmp_path.iterdir()} == {"a.zip"}


def test_wrong_top_and_missing_archive(tmp_path):
    archive = make(tmp_path / "a.zip", {"other/a.txt": "1"})
    with pytest.raises(ValueError, match="holds no folder 'top'"):
        extract_zip(archive, tmp_path / "out", top="top")
    with pytest.raises(FileNotFoundError):
        extract_zip(tmp_path / "none.zip", tmp_path / "out", top="top")


def test_an_existing_result_is_not_overwritten(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("keep")
    archive = make(tmp_path / "a.zip", {"top/a.txt": "1"})
    with pytest.raises(OSError, match="cannot write"):
        extract_zip(archive, tmp_path / "out", top="top")
    assert (tmp_path / "out" / "mine").read_text() == "keep"
    assert {entry.name for entry in tmp_path.iterdir()} == {"a.zip", "out"}
