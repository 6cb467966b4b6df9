"""One file a format: readers, found by their declaration; a new format is one new file here."""
