"""The webhook's own rules, with real servers on loopback: who is told, and that the address is told to nobody."""

import logging
import traceback
from collections.abc import Iterator

import pytest

from cytotable_dagster.core.errors import DownloadError, OptionError
from cytotable_dagster.defs.webhook import post
from cytotable_dagster_tests.defs.hook import Hook, webhook


@pytest.fixture
def hook() -> Iterator[Hook]:
    with webhook() as taken:
        yield taken


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_a_failure_and_nothing_goes_elsewhere(hook: Hook, status: int) -> None:
    with webhook() as other:
        hook.status, hook.elsewhere = [status] * 9, other.url
        with pytest.raises(DownloadError, match=f"status {status}, a redirect, which is not followed"):
            post(hook.url, "of us alone")
        assert (hook.asked, other.asked, other.texts) == (1, 0, [])


@pytest.mark.parametrize(
    "url", ["{}/secret%zz\x00", "http://127.0.0.1:1/secret", "http://[secret", "http://a b/secret"]
)
def test_an_address_that_cannot_be_reached_is_not_told(url: str, hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cytotable_dagster.defs.webhook.time.sleep", lambda seconds: None)
    hook.status = [500] * 9
    with pytest.raises(DownloadError) as caught:
        post(url.format(hook.url), "never")
    assert "secret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("url", ["file:///etc/secret", "hooks.slack.com/secret", "ftp://127.0.0.1/secret"])
def test_what_is_no_web_address_is_said(url: str) -> None:
    with pytest.raises(OptionError, match="CYTOTABLE_WEBHOOK_URL") as caught:
        post(url, "never")
    assert "secret" not in str(caught.value)


def test_no_log_has_the_address(hook: Hook, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("urllib3.connectionpool").debug("others are heard")
        post(hook.url, "once")
    assert hook.texts == ["once"]
    assert "others are heard" in caplog.text
    assert "secret" not in caplog.text
