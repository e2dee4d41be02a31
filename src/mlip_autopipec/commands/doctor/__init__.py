"""Does the outside world work?"""
