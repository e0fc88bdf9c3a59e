"""Other people's files and data sets, read as problems; it knows no models."""
