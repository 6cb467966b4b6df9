"""Help beside the work: what the chosen method does, where it comes from, and the keys of the dock."""

from __future__ import annotations

from html import escape

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QTextBrowser, QVBoxLayout, QWidget

from imagereg.methods.base import Method

KEYS = {
    "Ctrl+Return": "preview the slice",
    "Ctrl+Shift+Return": "run the whole volume",
    "Ctrl+.": "stop and keep the image so far",
    "Escape": "cancel",
    "Ctrl+Shift+C": "copy what the panels say as a command line",
}
"""Keys that work while the dock has the focus."""


class HelpDialog(QDialog):
    """The card of a method with all its parameters, and the keys; it stays open beside the work."""

    def __init__(self, method: type[Method], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(method.title)
        self.resize(460, 520)
        layout = QVBoxLayout(self)
        page = QTextBrowser()
        page.setOpenExternalLinks(True)
        page.setHtml(card(method))
        page.setToolTip("The method's own declaration; the same as `imagereg list` prints.")
        layout.addWidget(page)


def card(method: type[Method]) -> str:
    """A method's title, sentence, parameters and sources, and the keys, as HTML."""
    rows = []
    for name, field in method.model_fields.items():
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        unit = f" ({extra['unit']})" if extra.get("unit") else ""
        default = field.get_default(call_default_factory=True)
        said = f"{field.description or ''}{unit}; default {default}"
        rows.append(f"<tr><td><b>{escape(name)}</b>&nbsp;</td><td>{escape(said)}</td></tr>")
    keys = "".join(f"<tr><td><b>{escape(k)}</b>&nbsp;</td><td>{escape(v)}</td></tr>" for k, v in KEYS.items())
    return (
        f"<h3>{escape(method.title)}</h3><p>{escape(method.summary)}.</p>"
        f"<table>{''.join(rows)}</table>"
        f"<p>{escape(method.reference)}</p><h4>Keys</h4><table>{keys}</table>"
    )
