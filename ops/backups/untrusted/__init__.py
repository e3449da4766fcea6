"""Files that this installation has not signed: their rows are read, nothing of them is executed."""
