"""Clusters, by Parsl."""
