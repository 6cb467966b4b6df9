"""Running recipes: in slabs, with a record of what is done."""
