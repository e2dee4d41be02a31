"""Physics on atoms and arrays: pure, without a process, a clock or a database."""
