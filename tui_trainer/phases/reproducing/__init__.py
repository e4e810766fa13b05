"""Training a finished run again from its own files, and comparing what came out."""
