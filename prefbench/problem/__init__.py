"""The wishes of groups of people: problem, world, people, pairs, labels, views, computed utilities."""
