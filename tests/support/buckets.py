"""A server that speaks S3, in this process."""

import os
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

HOST = "127.83.19.6"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "not-to-be-told"}


@dataclass
class Bucket:
    """``url``: for fluxfast and pyarrow; ``client``: boto3's, to look at it from outside."""

    url: str
    client: Any

    def names(self) -> set[str]:
        """Return the names of all files below the prefix."""
        listed = self.client.list_objects_v2(Bucket="plant").get("Contents", [])
        return {o["Key"].removeprefix("logs/") for o in listed if not o["Key"].endswith("/")}

    def read(self, name: str) -> bytes:
        body: bytes = self.client.get_object(Bucket="plant", Key=f"logs/{name}")["Body"].read()
        return body


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind((HOST, 0))
        port: int = listening.getsockname()[1]
        return port


def url(port: int, prefix: str = "plant/logs") -> str:
    return f"s3://{prefix}?scheme=http&endpoint_override={HOST}:{port}&region=us-east-1"


@contextmanager
def bucket(port: int = 0) -> Iterator[Bucket]:
    """Run the server with the empty bucket ``plant``; ``KEYS`` must be in the environment."""
    assert os.environ["AWS_ACCESS_KEY_ID"] == KEYS["AWS_ACCESS_KEY_ID"]
    port = port or free_port()
    server = ThreadedMotoServer(ip_address=HOST, port=port, verbose=False)
    server.start()
    try:
        # Its state is the process's, not the server's.
        urllib.request.urlopen(f"http://{HOST}:{port}/moto-api/reset", b"").close()
        client = boto3.client("s3", endpoint_url=f"http://{HOST}:{port}", region_name="us-east-1")
        client.create_bucket(Bucket="plant")
        yield Bucket(url(port), client)
        client.close()
    finally:
        server.stop()
