"""The run that ``graphseq predict`` makes of an edge list: its folder keeps what it was made from.

Beside the seeds lie ``nodes.csv``, the user's id of each node; ``edges.npy``, the links by node
number; and ``inputs.json``, where both came from. Scores of a finished run thus need neither the
edge list nor its old place, and a list that has changed since is noticed.
"""

import hashlib
import io
import json
from pathlib import Path

import numpy as np

from graphseq.cli.options import Predict
from graphseq.files import atomic_write, atomic_write_json, load_npy, sha256_of
from graphseq.graph.data.id_tables import IdTable, read_id_table
from graphseq.graph.data.node_ids import NodeIds
from graphseq.graph.data.own_files import existing, read_features, stem_of
from graphseq.training.run_folder import RunFolder

OWN = "ncn_own"
"""The shipped experiment that an edge list is trained with."""
FEW_FREE = 200  # pairs without a link; with fewer, hits@100 would have no 100 of them to count by
SHARE = 10  # the smallest split has one link in so many


class OwnGraph:
    """An edge list, read and checked before anything is trained.

    Args:
        edges: the file.
        features: file of one row per node, in the order of ids 0 .. N-1; with it, ids must be
            those numbers. Without it, the nodes are the ids that occur in ``edges``.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is broken, or there is too little to learn from.
    """

    def __init__(self, edges: Path, features: Path | None = None) -> None:
        self.edges = edges
        self.features = None if features is None else existing(features, "predict: --features")
        table = read_id_table(edges)
        ids = table.ids
        if self.features is not None:
            _require_numbers(edges, table)
            ids = [str(number) for number in range(read_features(self.features).shape[0])]
        self.nodes = NodeIds(ids)
        self.links = self.nodes.numbers(table, str(edges))
        low, high = np.sort(self.links, axis=0)
        self.num_links = len(np.unique((low * len(ids) + high)[low != high]))
        self.num_free = len(ids) * (len(ids) - 1) // 2 - self.num_links
        self._check()

    def _check(self) -> None:
        if self.num_links < SHARE:
            raise ValueError(
                f"predict: {self.edges} has {self.num_links} different links, too few to learn "
                f"from; give at least {SHARE}"
            )
        if self.num_free < 2:
            raise ValueError(
                f"predict: in {self.edges}, {self.num_free} pairs of the {len(self.nodes)} nodes "
                "are no link, so there is nothing to tell links from; give a graph in which some "
                "nodes are not linked"
            )

    def settings(self, folder: Path) -> dict[str, object]:
        """What the shipped experiment is to be changed in; paths hold from everywhere."""
        values: dict[str, object] = {
            "data.edges": str(folder.resolve() / "edges.npy"),
            "data.name": stem_of(self.edges),
            "data.num_nodes": len(self.nodes),
        }
        if self.num_free < FEW_FREE:
            values["data.metric"] = "auc"
        if self.features is not None:
            values["data.features"] = str(self.features.resolve())
        return values

    def keep(self, folder: Path) -> None:
        """Writes the inputs into a folder where nothing was begun; compares them in any other.

        Raises:
            ValueError: the folder's run was made from something else; the message says what to do.
            OSError: the folder cannot be written.
        """
        if not RunFolder(folder).provenances():
            self.nodes.save(folder / "nodes.csv")
            content = io.BytesIO()
            np.save(content, self.links, allow_pickle=False)
            atomic_write(folder / "edges.npy", lambda file: file.write(content.getvalue()))
            atomic_write_json(folder / "inputs.json", self._origin())
            return
        if not is_own(folder):
            raise ValueError(
                f"predict: {folder} holds a run that predict has not made; choose another folder "
                "with --run"
            )
        before = _inputs(folder)
        same_nodes = NodeIds.load(folder / "nodes.csv").ids == self.nodes.ids
        if not (same_nodes and np.array_equal(load_npy(folder / "edges.npy"), self.links)):
            self._refuse(folder, f"{self.edges} is not the list", before["edges"])
        if before["features_sha256"] != self._origin()["features_sha256"]:
            self._refuse(folder, f"--features {self.features} are not those", before["features"])

    def _refuse(self, folder: Path, what: str, before: str | None) -> None:
        raise ValueError(
            f"predict: {what} that {folder} was trained on ({before}, as it was then); to train "
            f"anew, name another folder with --run; to ask the old model: graphseq predict {folder}"
        )

    def _origin(self) -> dict[str, str | None]:
        features = self.features
        return {
            "edges": str(self.edges.resolve()),
            "features": None if features is None else str(features.resolve()),
            "features_sha256": None if features is None else sha256_of(features),
        }


def own_folder(edges: Path) -> Path:
    """``runs/NAME-HASH``: lists of one name in different folders do not meet."""
    digest = hashlib.sha256(str(edges.resolve()).encode()).hexdigest()
    return Path("runs", f"{stem_of(edges)}-{digest[:6]}")


def is_own(folder: Path) -> bool:
    """Whether ``predict`` has made this run."""
    return all((folder / name).is_file() for name in ("nodes.csv", "edges.npy", "inputs.json"))


def places(folder: Path, features: Path | None) -> dict[str, str]:
    """Where the data of a finished run lie now, as settings; nothing for other runs.

    Args:
        folder: the run.
        features: where the file of features is, if not at its old place.

    Raises:
        FileNotFoundError: the features are no longer there.
        ValueError: they are not those of the run.
    """
    if not is_own(folder):
        return {}
    found, before = {"data.edges": str(folder / "edges.npy")}, _inputs(folder)
    if before["features"] is None:
        if features is not None:
            raise ValueError(f"predict: {folder} was trained without features; drop --features")
        return found
    path = features or Path(before["features"])
    if not path.is_file():
        raise FileNotFoundError(
            f"predict: the features of {folder} were in {path}, which is no file; say with "
            "--features where they are now"
        )
    if sha256_of(path) != before["features_sha256"]:
        raise ValueError(
            f"predict: {path} is not the file of features that {folder} was trained with; give "
            "that one with --features"
        )
    return {**found, "data.features": str(path)}


def train(graph: OwnGraph, folder: Path, options: Predict, command: str) -> None:
    """Trains the graph's model in ``folder``, unless that was done, going on if it was begun.

    Raises:
        ValueError: the folder holds a run of something else.
        OSError: the folder cannot be written.
    """
    from graphseq.training.catalog import pick, shipped
    from graphseq.training.run import run
    from graphseq.training.settings import with_leaves

    graph.keep(folder)
    seed = options.seed or 0
    if seed in RunFolder(folder).finished():
        return
    experiment = with_leaves(pick(shipped(), OWN), graph.settings(folder))
    try:
        run(experiment, [seed], out=folder, device=options.device, resume=True, command=command)
    except ValueError as error:  # `run` speaks of the option that `graphseq train` has
        message = str(error).replace("give another --out", "name another folder with --run")
        raise ValueError(message) from error


def _inputs(folder: Path) -> dict[str, str | None]:
    try:
        content = json.loads((folder / "inputs.json").read_text())
        return {key: content[key] for key in ("edges", "features", "features_sha256")}
    except (ValueError, TypeError, KeyError):
        raise ValueError(
            f"{folder / 'inputs.json'} is damaged; remove {folder} to train it again"
        ) from None


def _require_numbers(edges: Path, table: IdTable) -> None:
    if not table.numeric:
        raise ValueError(
            f"predict: {edges} has names such as {table.ids[0]!r}, but the rows of --features "
            "belong to the ids 0, 1, 2, ...; number the nodes in the order of the rows, or leave "
            "--features out"
        )
