"""The steps of the workbench, one panel a file; each is a view of the session."""
