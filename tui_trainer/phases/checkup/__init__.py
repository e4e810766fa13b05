"""What `mltrainer-tui doctor` looks at: the facts of this machine, and what is to be said about each."""
