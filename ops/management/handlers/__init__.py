"""What the commands do, in `handle` of one module each. It is imported after the arguments were parsed."""
