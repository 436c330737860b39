"""What the server understands, as an OpenAPI 3.1 document: the one place where it is written down; the pages read it."""

import onelook
from onelook.facts import Facts

ERROR = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
REFUSED = {
    "401": "no token, or a wrong one",
    "403": "another host or another site's page",
    "408": "too slow",
    "413": "too many bytes, pictures or pixels",
    "422": "no picture, or a head that is not there",
    "429": "too much waits; ask again",
}


def document(megabytes: float, pictures: int, guarded: bool) -> Facts:
    """The document of a server with these limits; ``guarded``: whether it wants a token."""
    answers = {
        "type": "object",
        "description": "as onelook predict --json: path, answers by head, unlike (heads to be doubted), ms; or path and error",
    }
    several = {"type": "object", "properties": {"pictures": {"type": "array", "items": answers}}}
    binary = {"type": "string", "format": "binary"}
    text = {"type": "string", "contentEncoding": "base64"}
    bodies = {
        "image/*": {"schema": binary},
        "multipart/form-data": {"schema": {"type": "object", "properties": {"file": {"type": "array", "items": binary}}}},
        "application/json": {"schema": {"type": "object", "properties": {"image": text, "images": {"type": "array", "items": text}}}},
    }
    parameters = [
        {"name": "heads", "in": "query", "schema": {"type": "string"}, "description": "which to ask, parted by commas (default: all)"},
        {"name": "conf", "in": "query", "schema": {"type": "number", "minimum": 0, "maximum": 1}, "description": "lowest score of boxes"},
    ]
    refused = {code: {"description": said, "content": {"application/json": {"schema": ERROR}}} for code, said in REFUSED.items()}
    found = {"200": {"description": "answers", "content": {"application/json": {"schema": {"oneOf": [answers, several]}}}}}
    predict = {
        "summary": f"Answers for one picture, or for up to {pictures}; at most {megabytes:g} MB",
        "parameters": parameters,
        "requestBody": {"required": True, "content": bodies},
        "responses": found | refused,
    }
    rest = {
        "/v1/heads": "What may be asked: heads, classes, tasks",
        "/healthz": "Whether it is well, and how many pictures wait",
        "/metrics": "Figures for Prometheus",
    }
    paths: Facts = {"/v1/predict": {"post": predict}}
    paths |= {path: {"get": {"summary": said, "responses": {"200": {"description": "ok"}}}} for path, said in rest.items()}
    told: Facts = {"openapi": "3.1.0", "info": {"title": "onelook", "version": onelook.__version__}, "paths": paths}
    if guarded:
        told |= {"components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}}, "security": [{"token": []}]}
    return told
