"""The first minutes: a sample in one click, and a tour that points at each part of the dock."""

from __future__ import annotations

from typing import Any

import pytest
from napari_imagereg import samples
from napari_imagereg.gallery import GALLERY
from napari_imagereg.tour import STOPS
from qtpy.QtCore import QPoint, QRect, Qt
from qtpy.QtWidgets import QPushButton


@pytest.mark.parametrize("shown", GALLERY, ids=lambda shown: shown.make)
def test_each_sample_opens_with_what_suits_it(viewer: Any, workbench: Any, shown: Any) -> None:
    workbench.data.open_sample(shown.make)
    session = workbench.session
    assert session.task == shown.task
    assert session.method == shown.method
    assert session.refusals()[shown.method] == ""
    recipe = session.recipe()
    assert recipe.method.preset == shown.preset
    assert workbench.method.form.error() == ""
    assert workbench.footer.error() == ""
    assert hasattr(samples, shown.make)
    # The button starts from what suits the sample, also after another one.
    assert workbench.preview.button.isEnabled()


def test_one_click_gives_an_image(viewer: Any, workbench: Any, qtbot: Any) -> None:
    (button,) = [b for b in workbench.data.findChildren(QPushButton) if b.text() == "Try it"]
    assert not button.isHidden()
    button.click()
    qtbot.waitUntil(lambda: bool(workbench.session.runs) or bool(workbench.footer.error()), timeout=90000)
    assert workbench.footer.error() == ""
    assert workbench.session.runs[0].method == GALLERY[0].method
    assert button.parentWidget().isHidden()


def test_the_tour_points_at_each_part_in_turn(viewer: Any, workbench: Any, qtbot: Any) -> None:
    viewer.window._qt_window.show()
    workbench.trust.open(False)
    tour = workbench.start_tour()
    seen = []
    for place, stop in enumerate(STOPS):
        assert tour.stop is stop
        part = getattr(workbench, stop.part)
        qtbot.waitUntil(lambda part=part: _frames(workbench, tour, part), timeout=5000)
        assert f"{place + 1} of {len(STOPS)}" in tour._title.text()
        assert workbench.rect().contains(tour.geometry())
        # All of the text is seen.
        assert tour._text.heightForWidth(tour._text.width()) <= tour._text.height()
        seen.append(tour.pointed_at())
        if place < len(STOPS) - 1:
            qtbot.keyClick(tour.next_button, Qt.Key.Key_Right)
    assert len({(r.x(), r.y(), r.height()) for r in seen}) > 3
    assert workbench.trust.body.isVisible()
    assert tour.next_button.text() == "Done"
    qtbot.keyClick(tour, Qt.Key.Key_Left)
    assert tour.stop is STOPS[-2]
    tour.back_button.click()
    assert tour.stop is STOPS[-3]
    qtbot.keyClick(tour, Qt.Key.Key_Escape)
    qtbot.waitUntil(lambda: not _tours(workbench), timeout=5000)
    # Again from the menu, and to the end.
    workbench.head.tour_wanted.emit()
    (tour,) = _tours(workbench)
    for _ in STOPS:
        tour.next_button.click()
    qtbot.waitUntil(lambda: not _tours(workbench), timeout=5000)


def test_the_menu_of_help_tells_what_there_is(viewer: Any, workbench: Any, qtbot: Any) -> None:
    words = [action.text() for action in workbench.head.menu.actions()]
    assert "A tour of the dock" in words
    assert {shown.title for shown in GALLERY} <= set(words)


def test_the_palette_opens_the_dock_with_the_tour(viewer: Any, qtbot: Any) -> None:
    from napari_imagereg.actions import tour

    walk = tour(viewer)
    bench = walk.parentWidget()
    assert walk.stop is STOPS[0]
    walk.close()
    bench.end()
    qtbot.wait(50)


def _tours(workbench: Any) -> list[Any]:
    from napari_imagereg.tour import Tour

    return list(workbench.findChildren(Tour))


def _frames(workbench: Any, tour: Any, part: Any) -> bool:
    """Whether the frame lies around the part, as far as it is in sight."""
    whole = QRect(part.mapTo(workbench, QPoint(0, 0)), part.size())
    framed = tour.pointed_at()
    return not framed.isEmpty() and whole.contains(framed) and abs(framed.top() - whole.top()) <= 2
