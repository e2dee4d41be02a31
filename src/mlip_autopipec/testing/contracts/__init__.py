"""Contract suites: what every backend of a port has to keep, as pytest classes to be subclassed.

One file a port. Attributes that a subclass sets are listed in each class. The suites run the real
thing: external programs are started in the temporary folder of the test.
"""
