"""Tables of numbers as people write them; errors name the line."""

import gzip
import re

import numpy as np
import pytest

from graphseq.graph.data.text_tables import line_of_row, read_numbers, read_words

EXPECTED = [[0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize(
    "text",
    [
        "0,1\n2,3\n4,5\n",
        "0 1\n2 3\n4 5",
        "0\t1\n2\t3\n4\t5\n",
        "  0 ,  1\n2,3\n\n4,5\n\n",
        "source,target\n0,1\n2,3\n4,5\n",
        "# made by hand\n\nsource target # header\n0 1\n2 3 # a comment\n# another\n4 5\n",
        "\ufeff0,1\r\n2,3\r\n4,5\r\n",
        "source;target\n0;1\n2;3\n4;5\n",
        '"0","1"\n"2","3"\n"4","5"\n',
        "0.0,1.0\n2.0,3\n4e0,5.\n",
    ],
    ids=[
        *("commas", "spaces", "tabs", "untidy", "header", "comments", "spreadsheet"),
        *("semicolons", "quotes", "floats"),
    ],
)
@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
def test_reads_all_of_these_alike(tmp_path, text, ending):
    path = tmp_path / f"edges{ending}"
    content = text.encode()
    path.write_bytes(gzip.compress(content) if ending == ".csv.gz" else content)
    table = read_numbers(path, np.int64, columns=2)
    assert table.dtype == np.int64
    assert table.tolist() == EXPECTED
    lines = content.decode("utf-8-sig").splitlines()
    for row, numbers in enumerate(EXPECTED):
        line = lines[line_of_row(path, row) - 1].partition("#")[0]
        words = re.sub('[,;"]', " ", line).split()
        assert [int(float(word)) for word in words] == numbers


def test_one_row_one_column_and_floats(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("7\n")
    assert read_numbers(path, np.int64, columns=1).tolist() == [[7]]
    path.write_text("1e-3,-2.5,3\n4,nan,inf\n")
    table = read_numbers(path, np.float32)
    np.testing.assert_array_equal(table, np.float32([[1e-3, -2.5, 3], [4, np.nan, np.inf]]))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n0,1\n2,3\n4\n", "line 4: 1 columns, expected 2"),
        ("0,1\n2,3,4\n", "line 2: 3 columns, expected 2"),
        ("0,1,2\n3,4,5\n", "line 1: 3 columns, expected 2"),
        ("0,1\n# note\n2,x\n", "line 3: 'x' is not a whole number"),
        ("0,1\n2.5,1\n", "line 2: '2.5' is not a whole number"),
        ("0,1x\n2,3\n", "line 1: '1x' is not a whole number"),
        ("0,1.0\n9007199254740993.0,1\n", "does not fit into int64"),
        ("0,1\n2,\n", "line 2: '' is not a whole number"),
        ("0,1\n2 3\n", "line 2: 1 columns, expected 2"),
        ("0,1\n99999999999999999999,1\n", "does not fit into int64"),
        ("", "holds no lines of numbers"),
        ("source,target\n", "holds no lines of numbers"),
        ("a,b\nc,d\n", "line 2: 'c' is not a whole number"),
    ],
)
def test_faults_name_the_line(tmp_path, text, words):
    path = tmp_path / "edges.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"edges\.csv") as caught:
        read_numbers(path, np.int64, columns=2)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_fault_in_floats(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("0.5,1\n0.5,one\n")
    with pytest.raises(ValueError, match=r"x\.csv, line 2: 'one' is not a number"):
        read_numbers(path, np.float32)


def test_files_that_are_no_text(tmp_path):
    path = tmp_path / "edges.csv"
    path.write_bytes(b"\x80\x04\xff\xfe")
    with pytest.raises(ValueError, match=r"edges\.csv is not a complete text table"):
        read_numbers(path, np.int64)
    packed = tmp_path / "edges.csv.gz"
    packed.write_bytes(gzip.compress(b"0,1\n" * 1000)[:-20])
    with pytest.raises(ValueError, match=r"edges\.csv\.gz is not a complete text table"):
        read_numbers(packed, np.int64)
    with pytest.raises(FileNotFoundError):
        read_numbers(tmp_path / "none.csv", np.int64)


def test_words_keep_their_line_numbers(tmp_path):
    path = tmp_path / "split.txt"
    path.write_text("# who is where\ntrain\n\n  val # of last year\ntest\n")
    assert read_words(path) == [(2, "train"), (4, "val"), (5, "test")]
