"""``graphseq predict``: from an edge list, or a run, to scored pairs."""

import csv
import re
import warnings
from pathlib import Path

import pytest
import torch

from graphseq.cli import main
from graphseq.cli.link_scores import score_pairs
from graphseq.graph.data.id_tables import HEADERS
from graphseq.graph.data.node_ids import NodeIds
from graphseq.graph.tasks import LinkPrediction
from graphseq.training.catalog import shipped
from graphseq.training.replay import restore


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ring of 90 nodes, each joined with the next three, as an edge list; and four pairs."""
    monkeypatch.chdir(tmp_path)
    edges = [(i, (i + step) % 90) for i in range(90) for step in (1, 2, 3)]
    Path("ring.csv").write_text("source,target\n" + "\n".join(f"{i},{j}" for i, j in edges) + "\n")
    Path("pairs.csv").write_text("0,1\n0,45\n7,5\n3,3\n")
    return tmp_path


def short(monkeypatch: pytest.MonkeyPatch, **model: int) -> None:
    """Two epochs are enough to see that the pieces fit together."""
    import dataclasses
    from functools import partial

    own = shipped()["ncn_own"]
    task = partial(own.task.func, **{**own.task.keywords, "epochs": 2})
    monkeypatch.setattr(
        "graphseq.training.catalog.shipped",
        lambda: {"ncn_own": dataclasses.replace(own, task=task, model=partial(own.model, **model))},
    )


def scores(path: str) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def only_run() -> Path:
    (folder,) = Path("runs").iterdir()
    return folder


def predict(*words: str) -> int:
    return main(["predict", *words])


def test_an_edge_list_is_trained_on_once_and_pairs_are_scored(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    short(monkeypatch)
    assert predict("ring.csv", "--pairs", "pairs.csv", "--out", "out.csv") == 0
    assert "wrote out.csv" in capsys.readouterr().out
    rows = scores("out.csv")
    assert [(row["source"], row["target"]) for row in rows] == [
        *(("0", "1"), ("0", "45"), ("7", "5"), ("3", "3"))
    ]
    assert [row["known"] for row in rows] == ["1", "0", "1", "0"]
    run = only_run()
    assert re.fullmatch(r"ring-[0-9a-f]{6}", run.name)
    result = (run / "seed0/result.json").stat().st_mtime_ns

    # The finished run is asked again, by either name, and the model's own answer is what is told.
    for source in ("ring.csv", str(run)):
        assert predict(source, "--pairs", "pairs.csv", "--out", "again.csv") == 0
        assert scores("again.csv") == rows
    assert (run / "seed0/result.json").stat().st_mtime_ns == result
    from graphseq.training import catalog

    task = restore(run, catalog.shipped()["ncn_own"], 0).eval()
    assert isinstance(task, LinkPrediction)
    assert task.batch_size == task.data.train.size(1) // 10  # the other links stay visible
    expected, _ = score_pairs(task, torch.tensor([[0, 0, 7, 3], [1, 45, 5, 3]]), "cpu")
    found = torch.tensor([float(row["probability"]) for row in rows])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)

    # A run that has moved, asked from elsewhere, needs neither its old place nor the edge list.
    run.rename("elsewhere")
    Path("ring.csv").unlink()
    Path("below").mkdir()
    monkeypatch.chdir("below")
    assert predict("../elsewhere", "--pairs", "../pairs.csv", "--out", "out.csv") == 0
    assert scores("out.csv") == rows


def test_the_table_is_written_some_rows_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from graphseq.cli import predict

    pairs = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])
    columns = pairs, torch.tensor([0.5, 0.25, 1.0, 1e-7, 0.1]), torch.arange(5) % 2 == 0
    texts = []
    for rows in (2, 100):
        monkeypatch.setattr(predict, "ROWS", rows)
        predict._write(tmp_path / "out.csv", NodeIds([f"p{i}" for i in range(10)]), *columns)
        texts.append((tmp_path / "out.csv").read_text())
    assert texts[0] == texts[1]
    assert texts[0].splitlines()[::4] == ["source,target,probability,known", "p1,p5,1e-07,0"]
    assert len(texts[0].splitlines()) == 6


@pytest.mark.parametrize("kind", ["names", "large", "floats"])
def test_ids_of_any_kind_give_the_scores_of_whole_numbers(
    folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    short(monkeypatch)
    form = {"names": "p{:02d}, x", "large": "{}", "floats": "{}.0"}[kind]
    factor = 10**12 if kind == "large" else 1

    def own(number: str) -> str:
        return form.format(int(number) * factor)

    for name in ("ring", "pairs"):
        rows = [line.split(",") for line in Path(f"{name}.csv").read_text().splitlines()]
        rows = [row if row[0] == "source" else [own(row[0]), own(row[1])] for row in rows]
        if name == "ring":
            rows = [
                ["", *rows[0], "weight"],
                *([str(i), *row, "1"] for i, row in enumerate(rows[1:])),
            ]
        lines = (";".join(f'"{field}"' for field in row) for row in rows)
        Path(f"{kind}_{name}.csv").write_text("\n".join(lines))
    words = "--pairs", f"{kind}_pairs.csv", "--out", "other.csv", "--run", "other"
    assert predict(f"{kind}_ring.csv", *words) == 0
    assert predict("ring.csv", "--pairs", "pairs.csv", "--out", "plain.csv") == 0
    plain, other = scores("plain.csv"), scores("other.csv")
    for row in plain:
        for column in ("source", "target"):
            row[column] = own(row[column]).removesuffix(".0")
    assert other == plain


def test_features_keep_the_order_of_their_rows(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    short(monkeypatch)
    Path("x.csv").write_text("".join(f"{i},{i % 7}\n" for i in range(92)))
    Path("pairs.csv").write_text("0,1\n0,91\n")  # 91 has features and no link
    words = "ring.csv", "--pairs", "pairs.csv", "--features", "x.csv"
    assert predict(*words) == 0
    assert [row["target"] for row in scores("scores.csv")] == ["1", "91"]
    assert len((only_run() / "nodes.csv").read_text().splitlines()) == 93
    Path("x.csv").write_text("".join(f"{i},{i % 5}\n" for i in range(92)))
    assert predict(*words) == 2
    assert "--features x.csv are not those that runs/ring-" in capsys.readouterr().err
    Path("named.csv").write_text(Path("ring.csv").read_text().replace("0,1\n", "0,p1\n"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert predict("named.csv", *words[1:]) == 2
    assert "the rows of --features belong to the ids 0, 1, 2" in capsys.readouterr().err

    run = str(only_run())
    assert predict(run, *words[1:3]) == 2
    assert "x.csv is not the file of features that runs/ring-" in capsys.readouterr().err
    Path("x.csv").unlink()
    assert predict(run, *words[1:3]) == 2
    assert "say with --features where they are now" in capsys.readouterr().err
    Path("y.csv").write_text("".join(f"{i},{i % 7}\n" for i in range(92)))
    before = scores("scores.csv")
    assert predict(run, *words[1:3], "--features", "y.csv") == 0
    assert scores("scores.csv") == before


def test_a_header_alone_gives_an_empty_table(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short(monkeypatch)
    Path("pairs.csv").write_text("source,target\n")
    assert predict("ring.csv", "--pairs", "pairs.csv") == 0
    assert Path("scores.csv").read_text() == "source,target,probability,known\n"


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ("source,target\n0,1\n5,90\n", "line 3: '90' is no node: the graph has nodes 0 to 89"),
        ("0,1\n0,1,2\n", "line 2: 3 columns, expected 2"),
        ("", "pairs.csv is empty"),
        ("who,whom\nx,0\n", "line 1: 'who' is no node: the graph has nodes 0 to 89; drop the"),
    ],
)
@pytest.mark.filterwarnings("ignore:.* is no number, so all ids are read as names")
def test_a_broken_file_of_pairs_is_found_before_the_training(
    folder: Path, capsys: pytest.CaptureFixture[str], pairs: str, words: str
) -> None:
    Path("pairs.csv").write_text(pairs)
    assert predict("ring.csv", "--pairs", "pairs.csv") == 2
    assert words in capsys.readouterr().err
    assert not Path("runs").exists()


def test_errors_are_one_line_and_name_the_remedy(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    complete = [f"{i} {j}" for i in range(12) for j in range(i)]
    Path("complete.txt").write_text("\n".join(complete))
    Path("small.txt").write_text("0 1\n1 2\n2 1\n" * 20)
    Path("strength.csv").write_text("a,b,strength\n0,1,3\n")
    assert predict("ring.csv", "--pairs", "none.csv") == 2
    assert predict("nowhere", "--pairs", "pairs.csv") == 2
    assert predict("--pairs", "pairs.csv") == 2
    assert predict("ring.csv") == 2  # in one line, which does not hold the whole help
    assert predict("complete.txt", "--pairs", "pairs.csv") == 2
    assert predict("small.txt", "--pairs", "pairs.csv") == 2
    assert predict("strength.csv", "--pairs", "pairs.csv") == 2
    assert predict("ring.csv", "--pairs", "pairs.csv", "--out", ".") == 2
    errors = capsys.readouterr().err.splitlines()
    assert all(line.startswith("error: ") for line in errors)
    for line, words in zip(
        errors,
        [
            "none.csv, which is no file",
            "neither a file nor a folder nowhere; give an edge list",
            "one folder or one file of edges",
            "pairs",
            "0 pairs of the 12 nodes are no link, so there is nothing to tell links from; give",
            "small.txt has 2 different links, too few to learn from; give at least 10",
            "strength.csv, line 1: 3 columns, expected 2; drop the others, or name the two in a",
            "is a folder; name a file",
        ],
        strict=True,
    ):
        assert words in line
    assert max(map(len, errors)) < 250
    assert not Path("runs").exists()


def test_help_says_what_files_are_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert predict("--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "src,dst; from,to; head,tail; start,end; node1,node2;" in text
    names = [f"{source},{target}" for source, target in HEADERS if target != "dest"]
    assert [name for name in names if name not in text] == []
    assert main(["--help"]) == 0
    assert "Both files" not in capsys.readouterr().out


def test_lists_of_one_name_do_not_meet_and_a_changed_one_is_noticed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    short(monkeypatch)
    words = "--pairs", "pairs.csv"
    assert predict("ring.csv", *words) == 0
    run = only_run()
    Path("b").mkdir()
    Path("b/ring.csv").write_text(Path("ring.csv").read_text() + "0,30\n")
    assert predict("b/ring.csv", *words) == 0
    assert len(list(Path("runs").iterdir())) == 2
    old = scores("scores.csv")

    Path("ring.csv").write_text(Path("ring.csv").read_text() + "0,45\n")
    capsys.readouterr()
    assert predict("ring.csv", *words) == 2
    error = capsys.readouterr().err
    assert f"ring.csv is not the list that {run} was trained on" in error
    assert "name another folder with --run" in error
    assert f"graphseq predict {run}" in error
    assert predict(str(run), *words) == 0
    assert scores("scores.csv")[1]["known"] == "0"
    assert predict("ring.csv", *words, "--run", "new") == 0
    assert scores("scores.csv")[1]["known"] == "1"
    assert scores("scores.csv") != old

    # A folder that predict has not made, and one of other settings, are left as they are.
    (run / "nodes.csv").unlink()
    assert predict("ring.csv", *words, "--run", str(run)) == 2
    assert "holds a run that predict has not made; choose another" in capsys.readouterr().err
    short(monkeypatch, hidden_channels=16)
    assert predict("ring.csv", *words, "--run", "new", "--seed", "1") == 2
    error = capsys.readouterr().err
    assert "model.hidden_channels was 64 and is now 16; name another folder with --run" in error
    assert "--out" not in error


@pytest.mark.parametrize("num_nodes", [12, 24])
def test_a_small_or_dense_graph_is_ranked_by_auc(
    folder: Path, monkeypatch: pytest.MonkeyPatch, num_nodes: int
) -> None:
    short(monkeypatch)
    missing = {(0, 1), (2, 3)} if num_nodes == 12 else {(0, j) for j in range(1, 20)}
    pairs = [(i, j) for j in range(num_nodes) for i in range(j) if (i, j) not in missing]
    Path("dense.csv").write_text("\n".join(f"{i},{j}" for i, j in pairs))
    Path("few.csv").write_text("0,1\n1,2\n")
    assert predict("dense.csv", "--pairs", "few.csv") == 0
    assert [row["known"] for row in scores("scores.csv")] == ["0", "1"]


def test_a_run_that_predicts_no_links_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = ["train", "mlp_digits", "--seeds", "0", "--budget.epochs", "1", "--out", "runs/mlp"]
    assert main(train) == 0
    assert main(["predict", "runs/mlp", "--pairs", "pairs.csv"]) == 2
    assert "is a run of NodeClassification" in capsys.readouterr().err
