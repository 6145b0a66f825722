"""The bounded close of a producer, the exit of the process, and forks."""
