"""Any ASE calculator as the labelling engine, named by its import path and run in a child
process.
"""
