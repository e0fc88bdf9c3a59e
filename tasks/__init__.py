"""Built-in tasks, one file each; importing this package registers them."""

from prefbench_tasks import imdb_two_group

__all__ = ["imdb_two_group"]
