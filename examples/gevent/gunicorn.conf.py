"""gunicorn's settings; it reads this file from the folder in which it starts."""

worker_class = "gevent"
workers = 2
worker_connections = 100  # requests at once in each worker
