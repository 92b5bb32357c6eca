"""Worker processes: beyond a few cores, the interpreter's lock of one process is the limit."""
