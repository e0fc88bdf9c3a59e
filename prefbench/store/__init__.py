"""Stages, files and their checksums; it knows no science."""
