"""What `make bench` runs: each figure in a file of its own, on servers and processes of its own."""
