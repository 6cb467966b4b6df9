"""The viewer stays alive while a solver works, told without a clock that a loaded machine could slow down."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from napari_imagereg.jobs import SWITCH, ThreadJob

from imagereg.geometry import ParallelBeam
from imagereg.phantoms import simulate

LOOKS = 5


def test_a_gui_that_is_busy_sees_the_newest_value_only(qtbot: Any) -> None:
    """However many values a job gives while the GUI is away, it draws one when it comes back."""
    job, seen, gone, go_on = ThreadJob(), [], threading.Event(), threading.Event()
    job.looked.connect(seen.append)

    def values(keep: threading.Event) -> Iterator[int]:
        yield from range(2000)
        gone.set()
        go_on.wait(60)
        yield 2000

    job.start(values)
    assert sys.getswitchinterval() <= SWITCH
    assert gone.wait(60)  # the GUI's thread is blocked here, as by a slow drawing
    assert seen == []
    go_on.set()
    with qtbot.waitSignal(job.finished, timeout=60_000) as last:
        pass
    assert last.args == [2000]
    assert len(seen) <= 3
    assert seen[-1] == 2000


def test_the_gui_has_little_to_do_during_a_preview(viewer: Any, workbench: Any, qtbot: Any) -> None:
    """Its thread's own processor time between two ticks of a timer: no work of the solver's is in it."""
    from napari_imagereg.layers import measurement_keywords
    from qtpy.QtCore import QTimer

    geometry = ParallelBeam(np.linspace(0, np.pi, 90, endpoint=False), 256, pixel=1.0)
    scan = simulate("shepp_logan", geometry, attenuation=0.01)
    viewer.add_image(scan.data, **measurement_keywords(scan, name="scan"))
    workbench.session.choose_method("tv")
    workbench.method.form.set_values({"iterations": 100_000, "tolerance": 1e-12})
    workbench.explorer.start_preview()
    qtbot.waitUntil(lambda: "preview" in viewer.layers, timeout=60_000)
    worked: list[float] = []
    looks: list[Any] = []
    last = time.thread_time()

    def tick() -> None:
        nonlocal last
        now = time.thread_time()
        worked.append(now - last)
        last = now

    timer = QTimer()
    timer.setInterval(10)
    timer.timeout.connect(tick)
    workbench.explorer.job.looked.connect(looks.append)
    timer.start()
    qtbot.waitUntil(lambda: len(looks) >= LOOKS, timeout=120_000)
    timer.stop()
    assert np.percentile(worked, 95) < 0.1
    # Live iterates come at 8 Hz at most, so that drawing them leaves time for everything else.
    assert (looks[-1].seconds - looks[0].seconds) / (len(looks) - 1) > 0.09
    began = time.thread_time()
    workbench.footer.cancel_button.click()
    assert time.thread_time() - began < 0.3
    assert not workbench.explorer.job.running
    deadline = time.monotonic() + 60  # the step that it was in, however loaded the machine is
    while any(thread.name == "imagereg-preview" for thread in threading.enumerate()):
        assert time.monotonic() < deadline, "the thread of a cancelled preview is left"
        time.sleep(0.005)


def test_a_wish_to_stop_between_two_looks_is_answered_by_a_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_imagereg import previewing

    from imagereg.measurement import Measurement
    from imagereg.recipe import Recipe

    monkeypatch.setattr(previewing, "EVERY", 0.0)
    picture = np.random.default_rng(0).random((16, 16), dtype=np.float32)
    recipe = Recipe.of_mapping({"input": "picture", "method": {"name": "tv", "tolerance": 1e-9}})
    stop = threading.Event()
    looks = previewing.preview_looks(recipe, Measurement(picture), 0, stop)
    assert not next(looks).finished
    stop.set()
    (last,) = looks
    assert last.finished == "stopped and kept"
    assert last.provenance["recipe"]
