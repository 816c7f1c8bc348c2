"""Pairs of ids as people export them: one content in many forms, and errors that name the line."""

import gzip
import warnings
from pathlib import Path

import numpy as np
import pytest

from graphseq.graph.data.id_tables import read_id_table
from graphseq.graph.data.node_ids import NodeIds

PAIRS = [["0", "1"], ["2", "10"], ["10", "0"]]
NAMES = [["ann", "bob"], ["bob", "New York"], ["C#", "ann"]]


def read(path: Path, content: str | bytes) -> list[list[str]]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    table = read_id_table(path)
    assert len(set(table.ids)) == len(table.ids) == len(table.lines)
    return [[table.ids[i] for i in pair] for pair in table.pairs.T.tolist()]


@pytest.mark.parametrize(
    "text",
    [
        "0,1\n2,10\n10,0\n",
        "0;1\r\n2;10\r\n10;0",
        "0\t1\n2\t10\n10\t0\n",
        "0 1\n 2   10 \n\n10 0\n",
        '"0","1"\n"2","10"\n"10","0"\n',
        '"0" "1"\n"2" "10"\n"10" "0"\n',
        "0.0,1.0\n2.0,1e1\n10.0,0\n",
        "\ufeffsource,target\n0,1\n2,10\n10,0\n",
        ",source,target,weight\n0,0,1,0.5\n1,2,10,0.5\n2,10,0,1\n",
        "Target;Source_ID\n1;0\n10;2\n0;10\n",
        "# FromNodeId ToNodeId\n0 1 # a note\n2 10\n# another\n10 0\n",
        "FromNodeId\tToNodeId\n0\t1\n2\t10\n10\t0\n",
        "who,whom\n0,1\n2,10 # a note\n10,0\n",
        "0,\t1\n2,\t10\n10,\t0\n",
    ],
)
def test_numbers_in_any_form(tmp_path: Path, text: str) -> None:
    assert read(tmp_path / "a.csv", text) == PAIRS
    assert read(tmp_path / "a.csv.gz", gzip.compress(text.encode())) == PAIRS
    table = read_id_table(tmp_path / "a.csv")
    assert table.numeric
    assert table.ids == ["0", "1", "2", "10"]  # by value, not by text


@pytest.mark.parametrize(
    "text",
    [
        "source,target\nann,bob\nbob,New York\nC#,ann\n",
        "ann;bob\nbob;New York\nC#;ann\n",
        "ann\tbob\nbob\tNew York\nC#\tann\n",
        'ann bob\nbob "New York"\nC# ann\n',
        "u,v\nann,bob\nbob,New York\nC#,ann\n",
        "# people\nann,bob\nbob,New York\nC#,ann\n",
        'weight,from,to\n0.5,ann,bob\n,bob,"New York"\n2,C#,ann\n',
    ],
)
def test_names_in_any_form(tmp_path: Path, text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(tmp_path / "a.csv", text) == NAMES
    assert not read_id_table(tmp_path / "a.csv").numeric


def test_a_line_with_a_number_is_no_header(tmp_path: Path) -> None:
    with pytest.warns(
        UserWarning, match=r"line 1: '1x' is no number, so all ids are read as names"
    ):
        assert read(tmp_path / "a.csv", "0,1x\n1,2\n") == [["0", "1x"], ["1", "2"]]


def test_an_unknown_header_among_names_is_a_pair_and_is_told(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="line 1: who, whom is read as a pair; if it is a header"):
        pairs = read(tmp_path / "a.csv", "who,whom\nann,bob\nbob,eve\n")
    assert pairs[0] == ["who", "whom"]


def test_large_and_padded_numbers_keep_every_digit(tmp_path: Path) -> None:
    large = [["1000000000000000000001", "1000000000000000000000"]]
    text = "1000000000000000000001,1000000000000000000000\n"
    assert read(tmp_path / "a.csv", text) == large
    assert read(tmp_path / "a.csv", "007,7\n010,7\n") == [["007", "7"], ["010", "7"]]
    assert read(tmp_path / "a.csv", "1.00000001e9,3\n") == [["1000000010", "3"]]


def test_a_header_alone_is_an_empty_table(tmp_path: Path) -> None:
    assert read(tmp_path / "a.csv", "source,target\n") == []
    assert read_id_table(tmp_path / "a.csv").pairs.shape == (2, 0)


def test_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[5, 10**12], [7, 5]]))
    table = read_id_table(tmp_path / "a.npy")
    assert table.ids == ["5", "7", "1000000000000"]
    assert table.pairs.tolist() == [[0, 2], [1, 0]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty; give two ids per line"),
        ("0,1,2\n3,4,5\n", "line 1: 3 columns, expected 2; drop the others, or name the two"),
        ("0,1\n2,3,4\n", "line 2: 3 columns, expected 2; separate all ids alike"),
        ("0,1\n2 3\n", "line 2: 1 columns, expected 2"),
        ("source,target,w\n0,1,1\n0,1\n", "line 3: 2 columns, but the header has 3"),
        ("0,1\n\n2,\n", "line 3: an id is missing"),
        ("0,1\nnan,2\n", "line 2: an id is missing"),
        ("0,1\n2.5,1\n", "line 2: '2.5' is no node id; ids are whole numbers from 0, or names"),
        ("0,1\n-1,1\n", "line 2: '-1' is no node id"),
        ("u,v\nu,w\n", "line 1: 'u' is a header's name and, in line 2, an id; put # in front"),
        ('a,"b\nc,d\n', "line 2: unexpected end of data; check its quotes"),
    ],
)
def test_faults_name_the_line_and_a_remedy(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ValueError, match=r"a\.csv") as caught:
        read(tmp_path / "a.csv", text)
    assert words in str(caught.value)


def test_node_ids_survive_the_disk(tmp_path: Path) -> None:
    names = ["ann", 'a "b", c', "New York", "ü", "0.0", "id"]
    NodeIds(names).save(tmp_path / "nodes.csv")
    assert NodeIds.load(tmp_path / "nodes.csv").ids == names
    assert (tmp_path / "nodes.csv").read_text().splitlines()[:2] == ["id", "ann"]
    for damaged in ("", "id\na\na\n", "ann\nbob\n", "id\na,b\n"):
        (tmp_path / "nodes.csv").write_text(damaged)
        with pytest.raises(ValueError, match=r"nodes\.csv is damaged; remove"):
            NodeIds.load(tmp_path / "nodes.csv")


def test_an_unknown_id_is_told_with_its_line(tmp_path: Path) -> None:
    read(tmp_path / "a.csv", "source,target\nbob,ann\nann,eve\n")
    table = read_id_table(tmp_path / "a.csv")
    assert NodeIds(["ann", "eve", "bob"]).numbers(table, "a.csv").tolist() == [[2, 0], [0, 1]]
    with pytest.raises(ValueError, match=r"a\.csv, line 3: 'eve' is no node: the graph has 2"):
        NodeIds(["ann", "bob"]).numbers(table, "a.csv")


def test_a_decimal_is_the_same_id_in_a_file_of_names(tmp_path):
    file = tmp_path / "pairs.csv"
    file.write_text("1.0,2.0\nabc,1\n3.5,abc\n")
    with pytest.warns(UserWarning, match="'abc' is no number"):
        table = read_id_table(file)
    assert table.ids == ["1", "2", "abc", "3.5"]
    assert table.pairs.tolist() == [[0, 2, 3], [1, 0, 2]]
    assert table.lines == [1, 1, 2, 3]


def test_a_quoted_id_stays_in_its_line(tmp_path):
    file = tmp_path / "pairs.csv"
    file.write_text('a,"b\nc"\nd,e\n')
    with pytest.raises(ValueError, match="line 2: a quoted id ends in a later line"):
        read_id_table(file)
