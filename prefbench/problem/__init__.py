"""What is wanted by whom: problem, world, people, pairs, labels, views, computed utilities."""
