"""Running recipes: in slabs, on workers, with a record of what is done."""
