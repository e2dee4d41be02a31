"""The engine room: processes, clocks, SQLite; no science."""
