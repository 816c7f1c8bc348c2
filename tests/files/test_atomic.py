"""Files are whole or unchanged: after errors, on a full disk, and after kill -9."""

import json
import os
import random
import resource
import subprocess
import sys
import time

import pytest
import torch

from graphseq.files import atomic, atomic_write, atomic_write_json, atomic_write_text


def test_writes_replaces_and_makes_folders(tmp_path):
    path = tmp_path / "a" / "b" / "file.txt"
    atomic_write_text(path, "one")
    atomic_write_text(path, "zwölf")
    assert path.read_text(encoding="utf-8") == "zwölf"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


def test_mode_follows_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        atomic_write_text(tmp_path / "file", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_json_round_trip(tmp_path):
    content = {"metrics": {"test/acc": [0.5, 0.25]}, "name": "x"}
    atomic_write_json(tmp_path / "a.json", content)
    assert json.loads((tmp_path / "a.json").read_text()) == content


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_failure_inside_leaves_the_old_content_and_no_temporary(tmp_path, error):
    path = tmp_path / "file"
    atomic_write_text(path, "old")

    def write(file):
        file.write(b"half")
        raise error

    with pytest.raises(type(error)):
        atomic_write(path, write)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.fixture
def small_files_only():
    """The operating system refuses files over 64 KiB, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    "write",
    [
        lambda file: file.write(bytes(1 << 20)),
        lambda file: torch.save(torch.zeros(1 << 18), file),
    ],
    ids=["bytes", "torch.save"],
)
def test_no_room_is_one_line_and_keeps_the_old_file(tmp_path, small_files_only, write):
    path = tmp_path / "checkpoint.pt"
    atomic_write_text(path, "old")
    with pytest.raises(OSError, match="cannot write") as caught:
        atomic_write(path, write)
    assert str(path) in str(caught.value)
    assert "free some space" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_disk_full_at_the_flush(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device; free some space"):
        atomic_write_text(tmp_path / "file", "x")
    assert list(tmp_path.iterdir()) == []


def test_no_permission_names_target_and_remedy(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(atomic.os, "replace", refuse)
    with pytest.raises(OSError, match="choose a folder that you may write to"):
        atomic_write_text(tmp_path / "file", "x")
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "runs").write_text("in the way")
    with pytest.raises(OSError, match=r"runs/out/x\.json: .* something else has that name"):
        atomic_write_text(tmp_path / "runs" / "out" / "x.json", "{}")
    (tmp_path / "x.json").mkdir()
    with pytest.raises(OSError, match="something else has that name"):
        atomic_write_text(tmp_path / "x.json", "{}")


def test_other_errors_of_the_writer_pass_unchanged(tmp_path):
    def write(file):
        raise RuntimeError("not about the disk")

    with pytest.raises(RuntimeError, match="not about the disk"):
        atomic_write(tmp_path / "file", write)


def test_leftovers_of_killed_writers_go_when_they_are_old(tmp_path):
    old, fresh = tmp_path / ".f.0123abcd.tmp", tmp_path / ".f.89abcdef.tmp"
    foreign = tmp_path / ".g.0123abcd.tmp"
    for leftover in (old, fresh, foreign):
        leftover.write_text("half")
    long_ago = time.time() - 2 * 3600
    os.utime(old, (long_ago, long_ago))
    os.utime(foreign, (long_ago, long_ago))
    atomic_write_text(tmp_path / "f", "x")
    assert {entry.name for entry in tmp_path.iterdir()} == {"f", fresh.name, foreign.name}


KILLED = """
import runpy, sys
write = runpy.run_path(sys.argv[1])["atomic_write"]
print("ready", flush=True)
while True:
    for letter in (b"a", b"b"):
        def pieces(file):
            for _ in range(64):
                file.write(letter * 16384)
        write(sys.argv[2], pieces)
"""


def test_kill_at_any_moment_leaves_one_whole_version(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"a" * (1 << 20))
    moments = random.Random(0)
    for _ in range(12):
        command = [sys.executable, "-c", KILLED, atomic.__file__, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(moments.uniform(0.0, 0.05))
            process.kill()
        content = path.read_bytes()
        assert len(content) == 1 << 20
        assert content in (b"a" * len(content), b"b" * len(content))
