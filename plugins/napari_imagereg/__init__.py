"""The napari plugin of imagereg: views and jobs over the engine, no mathematics."""
