import pytest

from vesalius.addresses import check_aet, check_url
from vesalius.errors import ConfigError
from vesalius.pacs.rules import SeriesFacts, read_pacs_rules

RULES = """
[queue]
rest_seconds = 5

[destination.archive]
aet = "ORTHANC"
host = "127.0.0.1"
port = 4242

[destination.web]
url = "https://pacs.example.org/dicom-web"

[[rule]]
name = "liver"
modality = ["CT"]
body_part = "ABDOMEN"
description = "(?i)portal"
task = "segment"
phrases = ["liver"]
send_to = ["archive", "web"]

[[rule]]
name = "names"
task = "name"
send_to = "archive"
"""


@pytest.fixture
def read(tmp_path):
    def read_text(text: str):
        path = tmp_path / "rules.toml"
        path.write_text(text)
        return read_pacs_rules(path)

    return read_text


def test_a_file_is_read(read):
    found = read(RULES)
    assert found.queue.rest_seconds == 5.0
    assert found.destinations["archive"].port == 4242
    assert found.rules[0].send_to == ("archive", "web")


@pytest.mark.parametrize(
    ("series", "names"),
    [
        (SeriesFacts("CT", "Abdomen", ("Portal phase",)), ["liver", "names"]),
        (SeriesFacts("CT", "", ("Portal phase",)), ["names"]),
        (SeriesFacts("MR", "ABDOMEN", ("Portal phase",)), ["names"]),
        (SeriesFacts("CT", "ABDOMEN", ("native",)), ["names"]),
        (SeriesFacts("SEG", "ABDOMEN", ("Portal phase",)), []),  # a result that comes back is not named
        (SeriesFacts("sr", "", ()), []),
    ],
)
def test_rules_fit_what_they_ask_for(read, series, names):
    assert [rule.name for rule in read(RULES).of(series)] == names


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rest_seconds = 5", "rest_second = 5", "rest_seconds"),
        ("rest_seconds = 5", "rest_seconds = -5", "positive"),
        ("rest_seconds = 5", 'rest_seconds = "5"', "rest_seconds must be a number, got '5'"),
        ("rest_seconds = 5", "rest_seconds = nan", "positive"),
        ("rest_seconds = 5", "quota_gigabytes = inf", "positive"),
        ("rest_seconds = 5", "keep_days = nan", "positive"),
        ('dicom-web"', 'dicom-web"\ntls = true', "go with aet"),
        ('dicom-web"', 'dicom-web"\nport = 4242', "go with aet"),
        ("port = 4242", 'port = "4242"', "must be a whole number"),
        ("port = 4242", 'port = 4242\ntls = "yes"', "must be true or false"),
        ("port = 4242", "port = 70000", "port from 1 to 65535"),
        ('aet = "ORTHANC"', 'aet = "A TITLE THAT IS TOO LONG"', "AE title"),
        ('url = "https://', 'url = "ftp://', "DICOMweb service"),
        ('url = "https://', 'url = "https://me:secret@', "holds a password"),
        ('task = "name"', 'task = "names"', "task must be one of 'segment', 'name', got 'names'"),
        ('modality = ["CT"]', 'modality = ["CT", ""]', "no empty texts"),
        ('phrases = ["liver"]', "", "needs phrases"),
        ('description = "(?i)portal"', 'description = "("', "regular expression"),
        ('send_to = "archive"', 'send_to = "archiv"', "archive"),
        ('name = "names"', 'name = "liver"', "two rules are called 'liver'"),
        ("[queue]", "[queues]", "queue"),
        ('task = "name"', "", "task is missing"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(read, old, new, message):
    assert old in RULES
    with pytest.raises(ConfigError, match="rules.toml") as caught:
        read(RULES.replace(old, new, 1) if "send_to" not in old else RULES.replace(old, new))
    assert message in str(caught.value)


def test_a_file_without_rules_is_refused(read):
    with pytest.raises(ConfigError, match="nothing would ever be done"):
        read("")


@pytest.mark.parametrize("title", ["", " ", "BACK\\SLASH", "Ü"])
def test_odd_titles_are_refused(title):
    with pytest.raises(ConfigError, match="AE title"):
        check_aet(title)


@pytest.mark.parametrize(
    "url", ["https://[::1/x", "https://pacs:port/x", "https://pacs:70000/x", "https://", "pacs/x", "https://a:0/x"]
)
def test_addresses_that_are_none_are_refused(url):
    with pytest.raises(ConfigError, match="expected the address of a DICOMweb service"):
        check_url(url)


@pytest.mark.parametrize("url", ["https://me:secret@[::1/x", "https://me:secret@pacs:x/y", "ftp://me:secret@pacs"])
def test_a_password_in_an_address_is_not_repeated(url):
    with pytest.raises(ConfigError, match="holds a password") as caught:
        check_url(url)
    assert "secret" not in str(caught.value)
