from lambda_function import lambda_handler


def test_any_event_is_answered():
    assert lambda_handler({}, None) == "PONG"
