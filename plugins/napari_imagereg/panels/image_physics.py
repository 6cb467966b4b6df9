"""What happened to an image: noise, blur, missing or coarse pixels, and what its noise is like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSpinBox,
    QWidget,
)

from imagereg.physics.registry import kinds
from napari_imagereg.form import ParameterForm
from napari_imagereg.panels.base import Panel
from napari_imagereg.panels.noise import NoiseRow
from napari_imagereg.session import TASKS, Session

OWN = {kind.task: tuple(kind.model_fields) for kind in kinds().values()}
"""What only one task knows."""

KERNEL = "A picture of the blur kernel, in place of a Gaussian."
CHOOSE = "Choose\N{HORIZONTAL ELLIPSIS}"


class ImagePhysics(Panel):
    """The task and its settings; what has no control here stays as a recipe gave it."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__("Image physics", parent)
        self._session = session
        self._filling = False
        self._formed: tuple[str, dict[str, Any]] = ("", {})
        self._task = QComboBox()
        self._task.addItems([task for task in TASKS if task != "tomography"])
        self._task.setToolTip("What happened to the image: noise, blur, missing pixels, coarse pixels.")
        self._task.activated.connect(lambda _: self.set_task(self._task.currentText()))
        self._blur = QDoubleSpinBox()
        self._blur.setRange(0.1, 50)
        self._blur.setValue(1.5)
        self._blur.setSuffix(" px")
        self._blur.setToolTip("Standard deviation of the Gaussian blur.")
        self._blur.valueChanged.connect(lambda value: self._edit(blur=value, kernel=None))
        self._kernel = QPushButton("Kernel\N{HORIZONTAL ELLIPSIS}")
        self._kernel.setToolTip(KERNEL)
        self._kernel.clicked.connect(self._ask_kernel)
        self._factor = QSpinBox()
        self._factor.setRange(2, 8)
        self._factor.setToolTip("How many times finer the result shall be.")
        self._factor.valueChanged.connect(lambda value: self._edit(factor=value))
        self._mask = QPushButton(CHOOSE)
        self._mask.setToolTip("A picture of the image's size that is 0 where the image is not known.")
        self._mask.clicked.connect(self._ask_mask)
        self.row("Task", self._task, stretch=1)
        self._settings: dict[str, QWidget] = {}
        for task, word, editor in (
            ("deblur", "Blur", self._blur),
            ("super-resolution", "Factor", self._factor),
            ("inpaint", "Mask", self._mask),
        ):
            line = QWidget()
            layout = QHBoxLayout(line)
            layout.setContentsMargins(0, 0, 0, 0)
            layout.addWidget(QLabel(word))
            layout.addWidget(editor, 1)
            if task == "deblur":
                layout.addWidget(self._kernel)
            self.layout_.addWidget(line)
            self._settings[task] = line
        # Kinds of other packages, and new ones, have the form of their declaration.
        self.form = ParameterForm()
        self.form.changed.connect(self._edit_form)
        self.layout_.addWidget(self.form)
        self.noise = NoiseRow()
        self.noise.edited.connect(lambda: self._edit(noise=self.noise.model()))
        self.layout_.addWidget(self.noise)

    def refresh(self) -> None:
        """Show the session's task and physics."""
        task, physics = self._session.task, self._session.physics
        self._filling = True
        self._task.setCurrentText(task)
        self._blur.setValue(physics.get("blur", self._blur.value()))
        self._factor.setValue(physics.get("factor", self._factor.value()))
        self.noise.show_model(physics.get("noise"))
        self._mask.setText(Path(physics.get("mask", CHOOSE)).name)
        kernel = physics.get("kernel")
        self._kernel.setText(Path(kernel).name if kernel else "Kernel\N{HORIZONTAL ELLIPSIS}")
        self._kernel.setToolTip(f"{kernel}; move the number to leave it." if kernel else KERNEL)
        for own, line in self._settings.items():
            line.setVisible(own == task)
        self._show_form(task, physics)
        self._filling = False

    def set_task(self, task: str) -> None:
        """Say what happened to the image: 'denoise', 'deblur', 'inpaint' or 'super-resolution'."""
        others = {name for other, names in OWN.items() if other != task for name in names}
        kept = {name: v for name, v in self._session.physics.items() if name not in {*others, "kind"}}
        if task == "deblur" and "kernel" not in kept:
            kept.setdefault("blur", self._blur.value())
        elif task == "super-resolution":
            kept.setdefault("factor", self._factor.value())
        self._session.task = task
        self._session.physics = kept
        self._session.physics_changed.emit()

    def _show_form(self, task: str, physics: dict[str, Any]) -> None:
        """The form of a kind that has no controls here; what is typed stays while the kind is the same."""
        shown = task not in self._settings and bool(OWN.get(task))
        self.form.setVisible(shown)
        if not shown:
            return
        kind = next(kind for kind in kinds().values() if kind.task == task)
        given = {name: physics[name] for name in kind.model_fields if name in physics}
        if self._formed != (task, given):
            self._formed = (task, given)
            self.form.show_model(kind, given)

    def _edit_form(self) -> None:
        values = self.form.values(changed_only=True)
        self._formed = (self._session.task, values)
        self._edit(**{name: values.get(name) for name in self.form})

    def _edit(self, **values: Any) -> None:
        """Change what the user touched and leave the rest as it is; None takes a value away."""
        measurement = self._session.measurement
        if self._filling or measurement is None or measurement.geometry is not None:
            return
        changed = {**self._session.physics, **values}
        self._session.physics = {name: value for name, value in changed.items() if value is not None}
        self._session.physics_changed.emit()

    def _ask_kernel(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Picture of the blur kernel")
        if name:
            self._edit(kernel=name, blur=None)

    def _ask_mask(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Mask of the known pixels")
        if name:
            self.set_mask(Path(name))

    def set_mask(self, path: Path) -> None:
        """Take a file as the mask of known pixels."""
        self._edit(mask=str(path))

    def show_noise(self, sigma: float) -> None:
        """Take Gaussian noise of a standard deviation."""
        self.noise.show_model({"name": "gaussian", "sigma": sigma})
        self._edit(noise=self.noise.model())
