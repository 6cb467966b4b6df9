"""How far to trust a run: what its image leaves unexplained, and what two halves of the data agree on."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QWidget

from napari_imagereg.panels.base import Panel, note
from napari_imagereg.plot import Plot


class TrustPanel(Panel):
    """Two questions to the chosen run, and their answers in a sentence each."""

    residual = Signal()
    halves = Signal()

    def __init__(self, session: Any, parent: QWidget | None = None) -> None:
        super().__init__("Trust", parent)
        self._session = session
        self._residual = QPushButton("Residual map")
        self._residual.setToolTip(
            "Project the image of the chosen run and show A x \N{MINUS SIGN} y in units of the noise, where "
            "the data lie. A pattern in it is something that the image does not explain; noise is not."
        )
        self._residual.clicked.connect(self.residual.emit)
        self._halves = QPushButton("Half sets")
        self._halves.setToolTip(
            "Run the method of the chosen run on two independent halves of the data and show down to which "
            "size they agree: Fourier shell correlation with the thresholds of half a bit (van Heel and "
            "Schatz 2005) and 1/7 (Rosenthal and Henderson 2003). Takes two runs."
        )
        self._halves.clicked.connect(self.halves.emit)
        self.row(self._residual, self._halves)
        self._fit = note()
        self._agreement = note()
        self.plot = Plot(shared=True, log=False, values=False)
        for widget in (self._fit, self.plot, self._agreement):
            widget.hide()
            self.layout_.addWidget(widget)
        self.listen(session.runs_changed, self.refresh)
        self.listen(session.data_changed, self.clear)
        self.refresh()

    def refresh(self) -> None:
        """Runs came or went."""
        for button in (self._residual, self._halves):
            button.setEnabled(bool(self._session.runs))

    def clear(self) -> None:
        """Forget what was said of other data."""
        for widget in (self._fit, self.plot, self._agreement):
            widget.hide()
        self.set_state("")

    def show_fit(self, title: str, found: Any) -> None:
        """Say how the image of a run fits its data."""
        how = "estimated" if found.estimated else "of the noise model"
        self._fit.setText(
            f"{title}: {found.sentence}. {found.outside:.2%} of the data lie beyond 3 standard deviations "
            f"(0.27% in noise); neighbours correlate by {found.neighbours:.2f}. The noise is {how}."
        )
        self._fit.setToolTip(found.noise)
        self._fit.show()
        self.set_state(f"{found.chi_square**0.5:.2f} \N{MULTIPLICATION SIGN} noise")

    def show_halves(self, title: str, found: Any) -> None:
        """Draw the correlation of the halves, and say where it ends."""
        curve = found.curve
        frequency = list(curve.frequency)
        self.plot.clear()
        self.plot.set_curve("FSC", frequency, list(curve.correlation))
        self.plot.set_curve("half-bit", frequency, list(curve.half_bit))
        self.plot.set_curve("1/7", frequency, [1 / 7] * len(frequency))
        self.plot.axis = f"cycles per {curve.unit}"
        self.plot.setToolTip(f"Correlation of two halves of the data: {found.how}.")
        self.plot.show()
        self._agreement.setText(
            f"{title}: {curve.sentence}; {found.how}. What both halves share, as a wrong axis or a prior, is "
            "not seen."
        )
        self._agreement.show()

    def said(self) -> tuple[str, str]:
        """What is said of the fit and of the halves; empty where nothing is."""
        fit, agreement = (
            "" if label.isHidden() else str(label.text()) for label in (self._fit, self._agreement)
        )
        return fit, agreement
