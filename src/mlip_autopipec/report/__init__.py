"""What a person sees: live status and the report.

Reads files of a run folder, changes nothing, imports no engine.
"""
