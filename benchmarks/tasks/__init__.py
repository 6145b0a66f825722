"""Measures `AsyncProducer` beside aiokafka, AIOProducer and what one writes by hand.

Each benchmark is one of `python -m benchmarks` under the name `task-...`. While
developing, run some of them alone and shortened, on the embedded cluster or also on a
real Kafka:

    python -m benchmarks.tasks --only produce-one --only lag-send
    python -m benchmarks.tasks --full --kafka
"""
