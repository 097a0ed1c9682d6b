"""`make demo`: from nothing to a populated pipeline in a real cluster, shown as it happens."""
