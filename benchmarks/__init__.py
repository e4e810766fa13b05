"""How fast, how small, how soon: the program against hand-written loops and other frameworks."""
