"""TSPLIB: every way to write distances, each rounding from its definition, published optima."""

import math

import numpy as np
import pytest
import torch

from graphseq.files import find
from graphseq.sequence.data import read_tsplib, read_tsplib_tour
from graphseq.sequence.solvers import exact_tour, held_karp

MATRIX = np.array([[0, 5, 7, 9], [5, 0, 2, 4], [7, 2, 0, 8], [9, 4, 8, 0]])
# What is written, row by row or column by column, from the manual's definition of each form.
PAIRS = {
    "FULL_MATRIX": [(i, j) for i in range(4) for j in range(4)],
    "UPPER_ROW": [(i, j) for i in range(4) for j in range(4) if i < j],
    "LOWER_ROW": [(i, j) for i in range(4) for j in range(4) if i > j],
    "UPPER_DIAG_ROW": [(i, j) for i in range(4) for j in range(4) if i <= j],
    "LOWER_DIAG_ROW": [(i, j) for i in range(4) for j in range(4) if i >= j],
    "UPPER_COL": [(i, j) for j in range(4) for i in range(4) if i < j],
    "LOWER_COL": [(i, j) for j in range(4) for i in range(4) if i > j],
    "UPPER_DIAG_COL": [(i, j) for j in range(4) for i in range(4) if i <= j],
    "LOWER_DIAG_COL": [(i, j) for j in range(4) for i in range(4) if i >= j],
}


def write(tmp_path, *lines):
    path = tmp_path / "some.tsp"
    path.write_text("\n".join(lines) + "\n")
    return path


def explicit(tmp_path, form, numbers, *more):
    return write(
        tmp_path,
        *("NAME: some", "TYPE : TSP", "COMMENT: one", "COMMENT : two", "DIMENSION : 4"),
        *("EDGE_WEIGHT_TYPE: EXPLICIT", f"EDGE_WEIGHT_FORMAT: {form} ", "EDGE_WEIGHT_SECTION"),
        # lines break anywhere
        *(" ".join(map(str, numbers[i : i + 3])) for i in range(0, len(numbers), 3)),
        *more,
        "EOF",
        "anything",
    )


@pytest.mark.parametrize("form", PAIRS)
def test_matrix_forms(tmp_path, form):
    diagonal = 9999 if "DIAG" in form or form == "FULL_MATRIX" else 0
    numbers = [int(MATRIX[pair]) if pair[0] != pair[1] else diagonal for pair in PAIRS[form]]
    read = read_tsplib(explicit(tmp_path, form, numbers))
    assert read.distances.equal(torch.from_numpy(MATRIX).double())
    assert (read.name, read.comment, read.num_nodes) == ("some", "one two", 4)
    assert read.coordinates is None
    assert read.display is None


def test_display(tmp_path):
    places = ["DISPLAY_DATA_SECTION", "2 1.5 2e1", "1 0 -1", "3 0 0", "4 5 5"]
    read = read_tsplib(explicit(tmp_path, "UPPER_ROW", [5, 7, 9, 2, 4, 8], *places))
    assert read.display.tolist() == [[0, -1], [1.5, 20], [0, 0], [5, 5]]


def nint(x):
    return math.floor(x + 0.5)


def att(x, y):
    exact = math.sqrt((x * x + y * y) / 10)
    return nint(exact) + 1 if nint(exact) < exact else nint(exact)


PLANE = {
    "EUC_2D": lambda x, y: nint(math.hypot(x, y)),
    "CEIL_2D": lambda x, y: math.ceil(math.hypot(x, y)),
    "ATT": att,
    "MAN_2D": lambda x, y: nint(abs(x) + abs(y)),
    "MAX_2D": lambda x, y: max(nint(abs(x)), nint(abs(y))),
}


def coordinates(tmp_path, kind, places):
    return write(
        tmp_path,
        *("TYPE: TSP", f"DIMENSION: {len(places)}", f"EDGE_WEIGHT_TYPE: {kind}"),
        "NODE_COORD_SECTION",
        *(f"{city} {x!r} {y!r}" for city, (x, y) in enumerate(places, 1)),
    )


@pytest.mark.parametrize("kind", PLANE)
def test_plane(tmp_path, kind):
    places = (np.random.default_rng(0).random((30, 2)) * 100).round(1).tolist()
    places += [[0.0, 0.0], [3.0, 4.0], [3.0, 4.0], [0.5, 0.0]]
    read = read_tsplib(coordinates(tmp_path, kind, places))
    wanted = [[PLANE[kind](x - u, y - v) for u, v in places] for x, y in places]
    assert read.distances.tolist() == wanted
    assert read.coordinates.tolist() == places
    assert read.name == "some"


def test_geo(tmp_path):
    # 1 degree 30 minutes north, and a quarter of the equator
    read = read_tsplib(coordinates(tmp_path, "GEO", [(0.0, 0.0), (1.3, 0.0), (0.0, -90.0)]))
    degree = 3.141592 * 6378.388 / 180
    assert read.distances[0].tolist() == [0, int(1.5 * degree + 1), int(90 * degree + 1)]
    assert read.distances.equal(read.distances.T)


def test_tour_length(tmp_path):
    read = read_tsplib(explicit(tmp_path, "UPPER_ROW", [5, 7, 9, 2, 4, 8]))
    assert read.tour_length(torch.tensor([0, 2, 1, 3])) == 7 + 2 + 4 + 9
    with pytest.raises(ValueError, match=r"order must have each of 0 \.\. 3 once, got 3 cities"):
        read.tour_length(torch.tensor([0, 2, 1]))


@pytest.mark.parametrize("form", ["1 3 2", "1\n3\n2\n-1\n2 1 3\n-1", "1 3\n2\n-1\nEOF\n-1"])
def test_tour(tmp_path, form):
    path = write(tmp_path, "TYPE : TOUR", "DIMENSION : 3", "TOUR_SECTION", form, "EOF")
    assert read_tsplib_tour(path).tolist() == [0, 2, 1]


UPPER = [5, 7, 9, 2, 4, 8]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("TYPE : TSP", "TYPE : ATSP", r": TYPE is 'ATSP'; one of TSP can be read"),
        ("DIMENSION : 4", "", r": DIMENSION is ''; 3 to"),
        ("DIMENSION : 4", "DIMENSION : 2", r": DIMENSION is '2'; 3 to"),
        ("EXPLICIT", "XRAY1", r": EDGE_WEIGHT_TYPE is 'XRAY1'; one of EXPLICIT, EUC_2D"),
        ("EXPLICIT", "GEO", r": NODE_COORD_SECTION has 0 numbers, but 12"),
        ("UPPER_ROW", "FUNCTION", r": EDGE_WEIGHT_FORMAT is 'FUNCTION'; one of FULL_MATRIX"),
        ("UPPER_ROW", "FULL_MATRIX", r": EDGE_WEIGHT_SECTION has 6 numbers, but 16"),
        ("2 4 8", "2 4 -8", r": distances must be symmetric and not negative"),
        ("2 4 8", "2 4 8x", r", line 10: could not convert string to float: '8x'"),
        ("2 4 8", "2 4 nan", r", line 10: a number is not finite"),
        ("COMMENT: one", "6 6", r", line 3: must begin with a keyword, got '6 6'"),
        ("COMMENT: one", "word", r", line 3: must be KEYWORD : value"),
        ("2 4 8", "2 4 8\nEDGE_WEIGHT_SECTION", r", line 11: EDGE_WEIGHT_SECTION comes twice"),
    ],
)
def test_refuses(tmp_path, old, new, message):
    path = explicit(tmp_path, "UPPER_ROW", UPPER)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(ValueError, match=r"some\.tsp" + message):
        read_tsplib(path)


def test_refuses_cities(tmp_path):
    path = coordinates(tmp_path, "EUC_2D", [(0, 0), (1, 0), (2, 0)])
    path.write_text(path.read_text().replace("\n2 ", "\n4 "))
    with pytest.raises(ValueError, match=r"NODE_COORD_SECTION must have each of the cities 1 .. 3"):
        read_tsplib(path)
    path = write(tmp_path, "TYPE : TOUR", "DIMENSION : 3", "TOUR_SECTION", "1 2 2 -1")
    with pytest.raises(ValueError, match=r"must visit each of the cities 1 .. 3 once"):
        read_tsplib_tour(path)


OPTIMA = {
    "att48": 10628,
    "bayg29": 1610,
    "berlin52": 7542,
    "eil51": 426,
    "fri26": 937,
    "kroA100": 21282,
    "ulysses16": 6859,
}


@pytest.mark.real_data
@pytest.mark.parametrize("name", OPTIMA)
def test_published_tours_have_their_length(name):
    instance = read_tsplib(find(f"tsp/tsplib/{name}.tsp"))
    order = read_tsplib_tour(find(f"tsp/tsplib/{name}.opt.tour"))
    assert instance.tour_length(order) == OPTIMA[name]


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "best"), [("burma14", 3323), ("gr17", 2085)])
def test_published_optima_without_tours(name, best):
    instance = read_tsplib(find(f"tsp/tsplib/{name}.tsp"))
    assert held_karp(distances=instance.distances[None]).lengths.tolist() == [best]


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "best"), [("gr21", 2707), ("dantzig42", 699)])
def test_published_optima_of_larger_ones(name, best):
    instance = read_tsplib(find(f"tsp/tsplib/{name}.tsp"))
    assert exact_tour(distances=instance.distances).length == best
