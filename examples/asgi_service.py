"""
A service that warms up in the background: the port is open at once, /livez answers, /readyz is 503 until it is warm.

    pip install "jitwarmup[asgi]"
    python examples/asgi_service.py            # then: curl -i localhost:8000/readyz

The Kubernetes probes that go with it. Liveness asks only whether the process answers, so a long compile never gets the
pod killed; readiness keeps traffic away until the function is warm:

    livenessProbe:
      httpGet: {path: /livez, port: 8000}
      periodSeconds: 10
    readinessProbe:
      httpGet: {path: /readyz, port: 8000}
      periodSeconds: 2
      failureThreshold: 1
"""

import json
import time

import uvicorn

from jitwarmup import warmed
from jitwarmup.integrations.asgi import lifespan, readiness_app


@warmed(iterations=3, emit="summary")
def generate(prompt):
    time.sleep(0.05)  # your model
    return prompt[::-1]


async def app(scope, _receive, send):
    """The application itself; with FastAPI: ``FastAPI(lifespan=life)`` and ``app.mount("/", readiness_app(ready=life))``."""
    prompt = scope["query_string"].decode() or "hello"
    body = json.dumps({"answer": generate(prompt)}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})


life = lifespan({generate: ["hello"]})
service = readiness_app(app, lifespan=life)


if __name__ == "__main__":
    uvicorn.run(service, host="127.0.0.1", port=8000)
