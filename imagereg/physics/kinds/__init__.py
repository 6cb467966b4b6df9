"""One file a kind of physics that recipes name, found by its declaration; a new kind is one new file here."""
