"""gunicorn's settings; it reads this file from the folder in which it starts."""

preload_app = True  # load the application once; the workers share its memory
workers = 2
max_requests = 1_000  # then a worker ends, delivers what it accepted, and is replaced
max_requests_jitter = 100
graceful_timeout = 30  # seconds between SIGTERM and SIGKILL
