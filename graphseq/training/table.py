"""Tables in plain text, for people."""

from collections.abc import Mapping, Sequence
from typing import Any

from graphseq.training.experiment import Experiment, name_of
from graphseq.training.replay import Repeated
from graphseq.training.settings import dataset_of, leaves


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; numbers to the right, words to the left."""
    widths = [max(len(line[i]) for line in [header, *rows]) for i in range(len(header))]
    right = [bool(rows) and all(_is_number(row[i]) for row in rows) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(cells, widths, right, strict=True)
        ]
        return "  ".join(padded).rstrip()

    return "\n".join([line(header), "  ".join("-" * width for width in widths), *map(line, rows)])


def spread(mean: float | None, std: float | None) -> str:
    """``0.8440 ± 0.0050``; without the second part where there is no deviation."""
    if mean is None:
        return "-"
    return f"{mean:.4f}" + ("" if std is None else f" ± {std:.4f}")


def seed_count(finished: int, declared: int) -> str:
    """``100``; where seeds that the experiment declares are still missing, ``38 of 100``."""
    return f"{finished} of {declared}" if finished < declared else str(finished)


def catalog_table(experiments: Sequence[Experiment]) -> str:
    """The table of ``graphseq list``."""
    rows = []
    for experiment in experiments:
        claim = experiment.claim
        rows.append(
            (
                experiment.name,
                dataset_of(leaves(experiment)),
                name_of(experiment.model),
                f"{claim.metric} {spread(claim.value, claim.std)}" if claim else "-",
                str(len(experiment.seeds)),
            )
        )
    return text_table(("experiment", "data", "model", "claim", "seeds"), rows)


def replay_table(answers: Sequence[Repeated]) -> str:
    """The table of ``graphseq eval``."""
    rows = [
        (
            str(answer.seed),
            answer.metric,
            "-" if answer.recorded is None else f"{answer.recorded:.6f}",
            f"{answer.repeated:.6f}",
            "-" if answer.recorded is None else "yes" if answer.equal else "NO",
        )
        for answer in answers
    ]
    return text_table(("seed", "metric", "recorded", "repeated", "equal"), rows)


def comparison(summaries: Mapping[str, Mapping[str, Any]]) -> str:
    """The table that ends ``graphseq train``: what came out beside what is claimed.

    Args:
        summaries: name -> summary of a run.
    """
    header = ("experiment", "seeds", "metric", "result", "claim", "s/epoch", "parameters")
    rows = []
    for name, summary in summaries.items():
        claim = summary["claim"]
        for metric in _shown(summary):
            found = summary["metrics"][metric]
            claimed = claim is not None and claim["metric"] == metric
            rows.append(
                (
                    name,
                    seed_count(len(summary["seeds"]), summary["num_declared_seeds"]),
                    metric,
                    spread(found["mean"], found["std"]),
                    spread(claim["value"], claim["std"]) if claimed else "-",
                    f"{summary['seconds_per_epoch']:.4f}",
                    f"{summary['num_parameters']:,}",
                )
            )
    return text_table(header, rows)


def _shown(summary: Mapping[str, Any]) -> list[str]:
    """The claimed metric; without a claim the first test score, which is a task's main one."""
    metrics, claim = summary["metrics"], summary["claim"]
    if claim is not None and claim["metric"] in metrics:
        return [claim["metric"]]
    test = [name for name in metrics if name.startswith("test/") and not name.endswith("/loss")]
    return test[:1] or list(metrics)


def _is_number(cell: str) -> bool:
    return cell.replace(",", "").replace(".", "").replace("-", "").isdigit() or cell == "-"
