"""How servers are asked and what their answers mean: one file for each family of servers."""
