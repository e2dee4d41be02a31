"""Structures of an input, without a campaign."""
