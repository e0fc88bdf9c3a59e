"""Many runs: the file, the plan, the cells, and the engines that run them."""
