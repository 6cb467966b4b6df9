"""Recipes: what they accept, what they refuse and where they say it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from imagereg.errors import InputError, UsageError
from imagereg.recipe import Recipe
from imagereg.schema import schema
from imagereg.sections import parse_slice

TEXT = """\
version: 1
input:
  path: scan.h5
  rows: 2:4
preprocess:
  - flatfield
  - rings: {algorithm: sorting}
method:
  name: tv
  strength: 0.02
output:
  folder: results
"""


def test_short_and_long_forms_mean_the_same() -> None:
    short = Recipe.of_mapping({"input": "scan.h5", "preprocess": "flatfield", "method": "tv"})
    long = Recipe.of_mapping(
        {"input": {"path": "scan.h5"}, "preprocess": [{"flatfield": None}], "method": {"name": "tv"}}
    )
    assert short.sha256 == long.sha256


def test_yaml_round_trip_is_the_identity() -> None:
    recipe = Recipe.parse(TEXT).resolved()
    again = Recipe.parse(recipe.to_yaml(header="two\nlines"))
    assert again.plain() == recipe.plain()
    assert again.sha256 == recipe.sha256


def test_resolved_recipe_writes_every_default_out() -> None:
    plain = Recipe.parse(TEXT).resolved().plain()
    assert plain["method"]["strength"] == 0.02
    assert "iterations" in plain["method"]
    assert set(plain["preprocess"][1]["rings"]) > {"algorithm"}


def test_output_and_device_do_not_change_the_hash_but_parameters_do() -> None:
    recipe = Recipe.parse(TEXT)
    assert (
        recipe.with_values({"output.folder": "elsewhere", "execution.device": "cpu"}).sha256 == recipe.sha256
    )
    assert recipe.with_values({"strength": 0.03}).sha256 != recipe.sha256
    assert recipe.with_values({"execution.seed": 1}).sha256 != recipe.sha256


def test_setting_values_by_key() -> None:
    recipe = Recipe.parse(TEXT).with_values(
        {
            "strength": 0.5,
            "method.iterations": 7,
            "execution.seed": 3,
            "preprocess.flatfield.combine": "mean",
            "preprocess.rings.size": 15,
        }
    )
    method = recipe.resolved_method()
    assert (method.strength, method.iterations, recipe.execution.seed) == (0.5, 7, 3)
    assert recipe.steps()[1].size == 15


def test_a_parameter_brings_what_it_counts_with_only() -> None:
    graph = Recipe.of_mapping({"input": "scan.h5", "method": {"name": "graph_laplacian"}})
    assert graph.with_values({"strength": 5}).resolved_method().rule == "fixed"
    assert graph.with_values({"strength": 5, "rule": "gcv"}).resolved_method().rule == "gcv"
    resolved = graph.resolved()
    assert resolved.resolved_method().rule == "auto"
    assert resolved.with_values({"method.strength": 5}).resolved_method().rule == "fixed"
    given = Recipe.of_mapping({"input": "scan.h5", "method": {"name": "graph_laplacian", "strength": 5}})
    assert given.resolved_method().rule == "fixed"


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("  rows: 2:4", "  rwos: 2:4", 4, ["rwos", "did you mean 'rows'"]),
        ("  rows: 2:4", "  rows: two", 4, ["two", "start:stop"]),
        ("  name: tv", "  name: tvv", 8, ["tvv", "did you mean 'tv'"]),
        ("  strength: 0.02", "  stregth: 0.02", 8, ["stregth", "did you mean 'strength'"]),
        ("  strength: 0.02", "  strength: -1", 8, ["strength", "-1", "greater than"]),
        ("  - flatfield", "  - flatfeld", 5, ["flatfeld", "did you mean 'flatfield'"]),
        ("  folder: results", "  fodler: results", 12, ["fodler", "did you mean 'folder'"]),
        ("output:", "outputs:", 11, ["outputs", "did you mean 'output'"]),
    ],
)
def test_mistakes_are_named_with_line_and_cure(old: str, new: str, line: int, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        Recipe.parse(TEXT.replace(old, new), where="my.yaml")
    message = str(caught.value)
    assert f"my.yaml:{line}" in message
    for word in words:
        assert word in message
    assert "\n" not in message


def test_yaml_that_does_not_parse_names_its_line() -> None:
    with pytest.raises(UsageError, match=r"my.yaml:2: not valid YAML"):
        Recipe.parse("input: [\nmethod: : :\n", where="my.yaml")
    with pytest.raises(UsageError, match="a recipe is a mapping"):
        Recipe.parse("- 1\n- 2\n")


def test_a_missing_recipe_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the recipe"):
        Recipe.load(tmp_path / "none.yaml")


def test_paths_in_a_recipe_are_relative_to_it(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "r.yaml").write_text(TEXT)
    recipe = Recipe.load(tmp_path / "deep" / "r.yaml")
    assert recipe.input.path == tmp_path / "deep" / "scan.h5"
    assert recipe.output.folder == tmp_path / "deep" / "results"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2:8", slice(2, 8)), ("::6", slice(None, None, 6)), ("5", slice(5, 6)), ("-1", slice(-1, None))],
)
def test_ranges(text: str, expected: slice) -> None:
    assert parse_slice(text) == expected


@pytest.mark.parametrize("text", ["", "a:b", "1:2:0", "1:2:3:4", "1.5"])
def test_ranges_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="no range"):
        parse_slice(text)


def test_schema_describes_methods_steps_and_nothing_dangles() -> None:
    document = schema()
    text = yaml.safe_dump(document)
    assert "strength" in text
    assert "flatfield" in text
    wanted: set[str] = set()

    def walk(node: object) -> None:
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                wanted.add(node["$ref"].rpartition("/")[2])
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(document)
    assert wanted <= set(document["$defs"])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2:4", "2:4"),
        ("1:30:00", "1:30:00"),
        ("1e-3", 1e-3),
        ("1.5", 1.5),
        ("7", 7),
        ("-2", -2),
        ("true", True),
        ("[1, 2]", [1, 2]),
        ("1E5", 1e5),
        ("tv", "tv"),
        ("", None),
    ],
)
def test_yaml_values_are_what_people_mean(text: str, value: object) -> None:
    from imagereg.yaml_text import load

    assert load(text) == value
    assert type(load(text)) is type(value)


@pytest.mark.parametrize(
    "path", sorted(Path(__file__).parents[2].glob("data/recipes/*.yaml")), ids=lambda p: p.stem
)
def test_shipped_recipes_are_valid(path: Path) -> None:
    recipe = Recipe.load(path)
    assert recipe.resolved_method().name == recipe.method.name


def test_what_sections_mean_follows_copies_with_other_sections() -> None:
    text = "input: a.npy\nmethod: {name: tv, strength: 0.02}\npreprocess: [{centre: {column: 3}}]\n"
    recipe = Recipe.parse(text)
    assert recipe.resolved_method() is recipe.resolved_method()
    changed = recipe.model_copy(update={"method": recipe.with_values({"strength": 0.5}).method})
    assert changed.resolved_method().strength == 0.5
    assert recipe.resolved_method().strength == 0.02
    assert recipe.steps()[0].column == 3
    assert recipe.model_copy(update={"preprocess": ()}).steps() == []
    written = recipe.resolved(preprocess=({"centre": {"column": 5.0}},))
    assert written.steps()[0].column == 5.0
    assert written.sha256 != recipe.resolved().sha256
    assert Recipe.parse(text) == recipe
