"""Authenticate requests to the tracking server, which imports this module by its name."""

from flask import Response, request
from mlflow.server.auth import authenticate_request_basic_auth, make_basic_auth_response
from werkzeug.datastructures import Authorization


def authenticate() -> Authorization | Response:
    """Check user and password as MLflow does; deny other credentials, such as a token, with 401.

    MLflow's own check raises an internal error on a token, which clients retry for minutes.
    """
    given = request.authorization
    if given is None or given.type != "basic" or given.username is None or given.password is None:
        return make_basic_auth_response()
    return authenticate_request_basic_auth()
