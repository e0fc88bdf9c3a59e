"""Models, runs, servers and files that tests of several rooms are made of."""
