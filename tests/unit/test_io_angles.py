"""Angles from hints and text files, and how their unit is found."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from imagereg.errors import InputError, UsageError
from imagereg.io.angles import angles_beside, angles_file, angles_hint, in_radians, is_degrees
from imagereg.io.lengths import in_mm, length_hint, long_name, unit_in_mm


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linspace(0, 180, N)", np.linspace(0, 180, 5)),
        ("linspace(0,180)", np.linspace(0, 180, 5)),
        ("linspace(-90, 90, 5, endpoint=False)", np.linspace(-90, 90, 5, endpoint=False)),
        ("linspace(0, 2*pi, n)", np.linspace(0, 2 * np.pi, 5)),
        ("linspace(-pi/2, pi/2)", np.linspace(-np.pi / 2, np.pi / 2, 5)),
    ],
)
def test_linspace_is_numpys(text: str, expected: np.ndarray, tmp_path: Path) -> None:
    np.testing.assert_allclose(angles_hint(text, 5, tmp_path), expected)


@pytest.mark.parametrize("value", ["linspace(0, 180, 4)", [1, 2, 3], "linspace(a, b)", "none.txt", "abc", {}])
def test_wrong_hints_are_refused(value: object, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="angles"):
        angles_hint(value, 5, tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "0\n1.5\n3\n",
        "# degrees\n0\n1.5\n3",
        "angle\n0\n1.5\n3",
        "0, 1.5, 3",
        "frame,angle\n9,0\n9,1.5\n9,3\n",
    ],
)
def test_text_files(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    np.testing.assert_array_equal(angles_file(path), [0, 1.5, 3])
    np.testing.assert_array_equal(angles_hint("a.csv", 3, tmp_path), [0, 1.5, 3])


@pytest.mark.parametrize("text", ["", "one\ntwo\n", "0 1\n2 3\n", "0\nx\n2\n", "angle,tilt\n1,2\n3,4\n"])
def test_unclear_text_files_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=r"a\.txt"):
        angles_file(path)


def test_what_lies_beside(tmp_path: Path) -> None:
    data = tmp_path / "series.mrc"
    assert angles_beside(data, 3) == (None, None, "")
    (tmp_path / "angles.txt").write_text("0\n1\n")
    angles, _, said = angles_beside(data, 3)
    assert angles is None
    assert "2 numbers for 3 frames" in said
    (tmp_path / "series.mrc.mdoc").write_text(
        "[ZValue = 0]\nTiltAngle = -3\n\nTiltAngle = 0\nTiltAngle = 3.5\n"
    )
    angles, unit, said = angles_beside(data, 3)
    np.testing.assert_array_equal(angles, [-3, 0, 3.5])
    assert unit == "degrees"
    assert "series.mrc.mdoc" in said
    (tmp_path / "series.tlt").write_text("-60\n0\n60\n")
    np.testing.assert_array_equal(angles_beside(data, 3)[0], [-60, 0, 60])


def test_span_decides_the_unit_and_says_so_where_it_could_be_either() -> None:
    degrees = np.linspace(0, 180, 181)
    for angles, unit, doubtful in [
        (degrees, "degrees", False),
        (np.deg2rad(degrees), "radians", True),
        (np.linspace(0, 2 * np.pi, 90), "radians", True),
        (np.linspace(0, 10, 90), "degrees", True),
    ]:
        radians, notes = in_radians(angles, None, source="a.h5")
        np.testing.assert_allclose(radians, np.deg2rad(angles) if unit == "degrees" else angles)
        assert any(f"taken as {unit}" in note for note in notes) == doubtful


def test_a_stated_unit_is_obeyed_and_doubted_aloud() -> None:
    short = np.linspace(0, math.pi, 181)
    radians, notes = in_radians(short, "deg", source="a.h5")
    np.testing.assert_allclose(radians, np.deg2rad(short))
    assert "looks like radians" in notes[0]
    with pytest.raises(InputError, match="looks like degrees"):
        in_radians(np.linspace(0, 180, 181), "rad", source="a.h5")
    with pytest.raises(UsageError, match="looks like degrees"):
        in_radians(np.linspace(0, 180, 181), "rad", source="the hint", blame=UsageError)


def test_strange_orders_are_kept_and_noted() -> None:
    golden = np.mod(np.arange(20) * 111.246, 180)
    radians, notes = in_radians(golden, "degrees", source="a.h5")
    np.testing.assert_allclose(radians, np.deg2rad(golden))
    assert "not monotone (they go to and fro)" in notes[0]
    assert "repeat" in in_radians(np.array([0.0, 1, 1, 2]), "degrees", source="a.h5")[1][0]
    turns = np.linspace(0, 1080, 50)
    radians, notes = in_radians(turns, "degrees", source="a.h5")
    np.testing.assert_allclose(np.cos(radians), np.cos(np.deg2rad(turns)), atol=1e-12)
    assert "3 turns" in notes[0]
    with pytest.raises(InputError, match="view 1 is not a number"):
        in_radians(np.array([0, np.nan]), "degrees", source="a.h5")


@pytest.mark.parametrize(
    ("word", "expected"), [("deg", True), ("Degrees", True), ("rad", False), ("radian", False), ("", None)]
)
def test_names_of_angle_units(word: str, expected: bool | None) -> None:
    assert is_degrees(word) is expected
    with pytest.raises(UsageError, match="gon"):
        is_degrees("gon")


@pytest.mark.parametrize(
    ("value", "unit", "mm"),
    [
        (2, "m", 2000), (2, "um", 2e-3), (2, "µm", 2e-3), (2, "microns", 2e-3), (2, "Angstrom", 2e-7),
        (2, "Å", 2e-7), (2, "nanometers", 2e-6), (2, "inches", 50.8), (2, "cm", 20), (2, None, 2),
        (2, "parsec", None), (0, "mm", None), (float("nan"), "mm", None), (-1, "mm", None),
    ],
)  # fmt: skip
def test_lengths(value: float, unit: str | None, mm: float | None) -> None:
    found = in_mm(value, unit)
    assert found == (None if mm is None else pytest.approx(mm))


def test_length_hints() -> None:
    assert length_hint("3.36 nm", "pixel") == pytest.approx(3.36e-6)
    assert length_hint("0.2", "pixel") == length_hint(0.2, "pixel") == 0.2
    for wrong in ("-1", "3 parsec", "abc", 0, None, [1]):
        with pytest.raises(UsageError, match="pixel"):
            length_hint(wrong, "pixel")
    assert unit_in_mm("pixel") is None
    assert [long_name(u) for u in ("mm", "um", "pixel", "", "Å")] == [
        "millimeter", "micrometer", "", "", "angstrom",
    ]  # fmt: skip
