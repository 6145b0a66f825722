"""The bounded close of a producer, the process's exit, and forks."""
