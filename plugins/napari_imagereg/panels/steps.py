"""Step 3: preprocessing in order; tick, drag, tune, look at before and after."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QPushButton,
    QWidget,
)

from napari_imagereg.form import ParameterForm
from napari_imagereg.panels.base import Panel
from napari_imagereg.session import Session


class StepsPanel(Panel):
    """The ordered steps. A step that is not ticked stays in the list and is not run."""

    look = Signal(str)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__("3  Preprocess", parent)
        self._session = session
        self._filling = False
        self._list = QListWidget()
        self._list.setDragDropMode(QAbstractItemView.DragDropMode.InternalMove)
        self._list.setToolTip("Steps in the order in which they are taken: tick them, drag them.")
        self._list.itemChanged.connect(lambda _: self._store())
        self._list.model().rowsMoved.connect(lambda *_: self._store())
        self._list.currentItemChanged.connect(lambda now, before: self._show_form(now))
        self.layout_.addWidget(self._list)
        add = QPushButton("Add")
        add.setToolTip("Add a step.")
        self._menu = QMenu(add)
        add.setMenu(self._menu)
        remove = QPushButton("Remove")
        remove.setToolTip("Take the chosen step out of the list.")
        remove.clicked.connect(self._remove)
        look = QPushButton("Before / after")
        look.setToolTip("Show the chosen step's input, output and difference on the current view.")
        look.clicked.connect(self._look)
        self.row(add, remove, look)
        self._form = ParameterForm()
        self._form.changed.connect(self._keep_form)
        self.layout_.addWidget(self._form)
        self.listen(session.steps_changed, self.refresh)
        self.refresh()

    def set_advanced(self, advanced: bool) -> None:
        """Show advanced parameters."""
        self._form.set_advanced(advanced)

    def refresh(self) -> None:
        """Show the session's steps."""
        from imagereg.preprocessing import steps

        if self._filling:
            return
        self._filling = True
        self._list.clear()
        for step in self._session.steps:
            for name, values in step.items():
                self._add_item(name, values)
        self._filling = False
        if not self._menu.actions():
            for name, declared in steps().items():
                action = self._menu.addAction(declared.title)
                action.setToolTip(declared.summary)
                action.triggered.connect(lambda _=False, name=name: self._add(name))
        self._count()

    def choose(self, name: str) -> None:
        """Choose a step of the list by name and show its parameters."""
        for row in range(self._list.count()):
            if self._list.item(row).data(Qt.ItemDataRole.UserRole)[0] == name:
                self._list.setCurrentRow(row)

    def _add_item(self, name: str, values: dict[str, Any]) -> None:
        from imagereg.preprocessing import steps

        declared = steps().get(name)
        item = QListWidgetItem(declared.title if declared else name)
        item.setToolTip(declared.summary if declared else name)
        item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
        item.setCheckState(Qt.CheckState.Checked)
        item.setData(Qt.ItemDataRole.UserRole, (name, dict(values)))
        self._list.addItem(item)

    def _add(self, name: str) -> None:
        self._session.steps.append({name: {}})
        self._session.steps_changed.emit()
        self._list.setCurrentRow(self._list.count() - 1)

    def _remove(self) -> None:
        row = self._list.currentRow()
        if row >= 0:
            self._list.takeItem(row)
            self._store()

    def _store(self) -> None:
        if self._filling:
            return
        chosen = []
        for row in range(self._list.count()):
            item = self._list.item(row)
            name, values = item.data(Qt.ItemDataRole.UserRole)
            if item.checkState() == Qt.CheckState.Checked:
                chosen.append({name: values})
        self._session.steps = chosen
        self._filling = True
        self._session.steps_changed.emit()
        self._filling = False
        self._count()

    def _show_form(self, item: QListWidgetItem | None) -> None:
        from imagereg.preprocessing import steps

        if item is None:
            return
        name, values = item.data(Qt.ItemDataRole.UserRole)
        self._form.blockSignals(True)
        self._form.show_model(steps()[name], values)
        self._form.blockSignals(False)

    def _keep_form(self) -> None:
        item = self._list.currentItem()
        if item is None:
            return
        name, _ = item.data(Qt.ItemDataRole.UserRole)
        item.setData(Qt.ItemDataRole.UserRole, (name, self._form.values(changed_only=True)))
        self._store()

    def _look(self) -> None:
        item = self._list.currentItem()
        if item is not None:
            self.look.emit(item.data(Qt.ItemDataRole.UserRole)[0])

    def _count(self) -> None:
        line = max(14, self._list.sizeHintForRow(0))
        self._list.setFixedHeight(10 + line * min(6, max(1, self._list.count())))
        self.set_state(f"{len(self._session.steps)} on")
