"""A FastAPI service that sends to Kafka: uvicorn app:app --workers 4."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.requests import Request

from waterdrop_py import Producer
from waterdrop_py.errors import ProduceError

# Opens nothing. Each worker process opens a client of its own at its first send.
producer = Producer(
    os.environ.get("KAFKA_URL", "kafka://localhost:9092"),
    idle_disconnect_timeout="5m",
)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Deliver what is left when the server stops."""
    yield
    # uvicorn ends its process by the signal that stopped it. No exit handler runs then.
    await asyncio.to_thread(producer.close)


app = FastAPI(lifespan=lifespan)


def get_producer() -> Producer:
    """The producer of this process. Tests override this dependency."""
    return producer


Kafka = Annotated[Producer, Depends(get_producer)]


class Order(BaseModel):
    """What a customer orders."""

    id: str
    item: str


@app.post("/orders", status_code=201)
async def create_order(order: Order, kafka: Kafka) -> dict[str, int | None]:
    """Answer once the brokers have the message."""
    report = await kafka.produce_async("orders", order.model_dump_json(), key=order.id)
    return {"partition": report.partition, "offset": report.offset}


@app.post("/clicks", status_code=202)
async def count_click(click: dict[str, str], kafka: Kafka) -> None:
    """Answer at once. The message is delivered later, at the latest at the stop."""
    kafka.produce_async("clicks", click["page"])


@app.get("/health")
def health(kafka: Kafka) -> dict[str, str | bool | None]:
    """What a probe asks. It opens no client, and an idle producer is healthy."""
    found = kafka.health()
    error = None if found.error is None else str(found.error)
    return {"healthy": found.healthy, "status": str(found.status), "error": error}


@app.exception_handler(ProduceError)
async def kafka_failed(request: Request, error: ProduceError) -> JSONResponse:
    """What a client gets when its message was not delivered."""
    return JSONResponse({"error": error.code}, status_code=503)
