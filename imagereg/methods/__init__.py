"""Methods by name; a new method is one new file here."""
