"""A run as its owner sees it: thread, folder, record, signals."""
