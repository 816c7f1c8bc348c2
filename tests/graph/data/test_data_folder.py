"""No loader writes into the data folder, needs a network, or imports what it should not."""

import pytest

from graphseq.graph.data import (
    amazon,
    citation_full,
    coauthor,
    digits,
    digits_links,
    five_folds,
    five_link_splits,
    ogbl_ddi,
    planetoid,
    planetoid_links,
)


@pytest.mark.real_data
def test_loaders_only_read(tmp_path, monkeypatch, data_root):
    """Every file that a loader opens for writing, anywhere, would be seen here."""
    import builtins
    import os

    opened = []
    real_open, real_os_open = builtins.open, os.open

    def watching(file, mode="r", *args, **kwargs):
        if set(mode) & set("wax+"):
            opened.append(str(file))
        return real_open(file, mode, *args, **kwargs)

    def watching_os(path, flags, *args, **kwargs):
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            opened.append(str(path))
        return real_os_open(path, flags, *args, **kwargs)

    monkeypatch.setenv("GRAPHSEQ_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(builtins, "open", watching)
    monkeypatch.setattr(os, "open", watching_os)
    before = {path: path.stat().st_mtime_ns for path in data_root.rglob("*")}
    planetoid(name="Cora")
    amazon(name="Photo")
    coauthor(name="CS")
    citation_full(name="CiteSeer")
    digits()
    planetoid_links(name="CiteSeer")
    five_folds(name="Cora_ML")
    five_link_splits(name="Cora_ML")
    ogbl_ddi()
    digits_links()
    after = {path: path.stat().st_mtime_ns for path in data_root.rglob("*")}
    assert before == after
    assert opened == []
    assert not (tmp_path / "cache").exists()
