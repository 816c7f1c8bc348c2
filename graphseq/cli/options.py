"""The options of each command; tyro makes the parser and the help from these classes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class List:
    """Every experiment with its data, its model and its claim."""


@dataclass(frozen=True)
class Info:
    """Versions, devices, what is installed and loads, and where files lie."""

    json: bool = False
    """Print JSON."""


@dataclass(frozen=True)
class Train:
    """Train experiments, shipped ones by name or those of a file, and compare with their claims."""

    seeds: tuple[int, ...] | None = None
    """Seeds to train; None takes those of the experiment."""
    out: Path | None = None
    """Folder for results; None takes runs/EXPERIMENT. Several experiments get one each inside."""
    device: str = "cpu"
    """Where to compute, such as cuda or cuda:1."""
    precision: str = "32-true"
    """Number format, such as bf16-mixed or 64-true."""
    compile: bool = False
    """Compile the model with torch.compile, which leaves NCN, NCNC and GAE as they are."""
    resume: bool = False
    """Continue unfinished seeds from their checkpoints; a folder that has some needs it."""
    tensorboard: bool = False
    """Write TensorBoard files beside each seed."""


@dataclass(frozen=True)
class Leaderboard:
    """Train seeds 0 to 9, continuing if interrupted, and write OGB's submission sheet."""

    out: Path | None = None
    """Folder for results; None takes runs/leaderboard/EXPERIMENT."""
    device: str = "cpu"
    """Where to compute, such as cuda or cuda:1."""
    precision: str = "32-true"
    """Number format, such as bf16-mixed or 64-true."""
    compile: bool = False
    """Compile the model with torch.compile, which leaves NCN, NCNC and GAE as they are."""


@dataclass(frozen=True)
class Eval:
    """Score the kept weights of a run again and compare with the recorded numbers."""

    experiment: str | None = None
    """FILE.py or FILE.py:NAME of a run that was made from a file of your own."""
    split: Literal["train", "val", "test"] | None = None
    """Score these rows alone; None takes val and test. Of train there is no record."""
    device: str = "cpu"
    """Where to compute, such as cuda or cuda:1."""


@dataclass(frozen=True)
class Predict:
    """Score pairs of nodes with a trained run, or with one trained on an edge list first.

    Both files have two ids per line, numbers or names, with a comma, semicolon, tab or space
    between them, perhaps quoted; lines that begin with # are left out. More columns need a header
    that calls two of them source,target (or src,dst; from,to; head,tail; start,end; node1,node2;
    id1,id2; u,v). A first line without such names is a header only if it has no number and all
    other lines have nothing else; any other is a pair.
    """

    pairs: Path
    """Table of two columns, one pair of node ids per line."""
    out: Path = Path("scores.csv")
    """Where to write source, target, probability, known: 1 if the pair is a link already. The
    probability of such a pair is that without its own link, which the model is not shown, as in
    training; with more than 100 of them, they are hidden in at least 100 groups. Runs of forward
    learning, which hides no link in training, score all pairs with the training links shown."""
    features: Path | None = None
    """One line of numbers per node, where an edge list is trained on: line 1 for id 0, and so on.
    Without it the nodes are the ids in the edge list, whatever these are."""
    run: Path | None = None
    """Folder of the run on an edge list; None takes runs/NAME-HASH, after its name and place. A
    finished one is not repeated. Its nodes.csv holds the ids, its edges.npy the links."""
    seed: int | None = None
    """Which seed's model to ask; None takes the first of the run, or 0."""
    experiment: str | None = None
    """FILE.py or FILE.py:NAME of a run that was made from a file of your own."""
    device: str = "cpu"
    """Where to compute, such as cuda or cuda:1."""


@dataclass(frozen=True)
class Plot:
    """Draw runs: learning curves and retainment scores of each, or all against one setting."""

    metric: str | None = None
    """Metric to draw; None takes the first val score, or test/acc against a setting."""
    against: str | None = None
    """A setting that differs between the runs, such as model.num_hops."""
    out: Path | None = None
    """Image file of the figure against a setting; None takes sweep.png."""
    experiment: str | None = None
    """FILE.py or FILE.py:NAME of a run that was made from a file of your own."""


@dataclass(frozen=True)
class Results:
    """Keep finished runs as CSV beside the experiments, and write the table of all results."""

    into: Path = Path("experiments")
    """Folder with README.md and results/; a README.md above it gets the table of what was run."""


@dataclass(frozen=True)
class Bench:
    """Time ops and models against their references."""

    case: str | None = None
    """One case of the benchmark; None takes all."""
    json: bool = False
    """Print JSON."""
