"""Who may come in, as the tracking server asks: it imports this module by name."""

from flask import Response, request
from mlflow.server.auth import authenticate_request_basic_auth, make_basic_auth_response
from werkzeug.datastructures import Authorization


def authenticate() -> Authorization | Response:
    """MLflow's own check of user and password; anything else, as a token, is refused with 401.

    MLflow's check alone ends a token in an internal error, which clients take for a server in
    trouble and try again for minutes.
    """
    given = request.authorization
    if given is None or given.type != "basic" or given.username is None or given.password is None:
        return make_basic_auth_response()
    return authenticate_request_basic_auth()
