"""A FastAPI service that sends to Kafka: uvicorn app:app --workers 4."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.requests import Request

from waterdrop_py import AsyncProducer
from waterdrop_py.errors import ProduceError


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, AsyncProducer]]:
    """Make the producer of this process. The end waits for what is not delivered yet,
    for at most `close_timeout`.

    uvicorn ends its process by the signal that stopped it. No exit handler runs then.
    """
    url = os.environ.get("KAFKA_URL", "kafka://localhost:9092")
    async with AsyncProducer(url, idle_disconnect_timeout="3m") as producer:
        yield {"kafka": producer}


app = FastAPI(lifespan=lifespan)


def get_producer(request: Request) -> AsyncProducer:
    """The producer of this process. Tests override this dependency."""
    producer: AsyncProducer = request.state.kafka
    return producer


Kafka = Annotated[AsyncProducer, Depends(get_producer)]


class Order(BaseModel):
    """What a customer orders."""

    id: str
    item: str


@app.post("/orders", status_code=201)
async def create_order(order: Order, kafka: Kafka) -> dict[str, int | None]:
    """Answer once the brokers have the message, or after 5 s."""
    body = order.model_dump_json()
    report = await kafka.produce("orders", body, key=order.id, timeout=5)
    return {"partition": report.partition, "offset": report.offset}


@app.post("/clicks", status_code=202)
async def count_click(click: dict[str, str], kafka: Kafka) -> None:
    """Answer at once. Delivery goes on, and the stop waits for it."""
    await kafka.send("clicks", click["page"])


@app.get("/health")
async def health(kafka: Kafka) -> JSONResponse:
    """Answer a readiness probe: 200, or 503 while Kafka fails. Opens no client."""
    status, body = (await kafka.health()).http()
    return JSONResponse(body, status)


@app.exception_handler(ProduceError)
async def kafka_failed(request: Request, error: ProduceError) -> JSONResponse:
    """What a client gets when its message was not delivered."""
    return JSONResponse({"error": error.code}, status_code=503)
