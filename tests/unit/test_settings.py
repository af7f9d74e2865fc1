"""Where a setting's value comes from, and what is shown of it."""

from dataclasses import fields
from pathlib import Path

import pytest

from producers.dialects.exchange import TenantRules
from thumbstream.settings import PREFIX, Settings, SettingsError, load


def written(folder: Path, text: str) -> Path:
    file = folder / "thumbstream.toml"
    file.write_text(text)
    return file


def test_defaults_hold_without_file_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load({}) == Settings()


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path) -> None:
    file = written(tmp_path, 'gateway_port = 1\nevent_partitions = 2\n[kafka]\n"security.protocol" = "SSL"\nx = 5\n')
    settings = load({"THUMBSTREAM_GATEWAY_PORT": "3"}, file)
    assert (settings.gateway_port, settings.event_partitions, settings.minute_partitions) == (3, 2, 4)
    assert settings.kafka == {"security.protocol": "SSL", "x": "5"}


def test_the_environment_may_name_the_file(tmp_path: Path) -> None:
    file = written(tmp_path, "epoch = 7\n")
    assert load({"THUMBSTREAM_CONFIG": str(file)}).epoch == 7


def test_a_file_that_was_asked_for_must_be_there(tmp_path: Path) -> None:
    for environment, file in (({}, tmp_path / "no.toml"), ({"THUMBSTREAM_CONFIG": str(tmp_path / "no.toml")}, None)):
        with pytest.raises(SettingsError, match=r"no\.toml"):
            load(environment, file)


def test_an_unknown_name_in_the_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="gateway_prot"):
        load({}, written(tmp_path, "gateway_prot = 1\n"))


def test_a_tenants_section_holds_its_rules(tmp_path: Path) -> None:
    settings = load({}, written(tmp_path, "[tenant.acme]\nrequesty_scale = [1, 5]\n[tenant.other]\n"))
    assert settings.tenant == {"acme": TenantRules((1.0, 5.0)), "other": TenantRules()}
    assert ("THUMBSTREAM_TENANT", "acme, other") in settings.describe()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tenant.acme]\nrequesty_skale = [1, 5]", r"thumbstream\.toml: unknown setting tenant\.acme\.requesty_skale"),
        ("[tenant.acme]\nrequesty_scale = 5", r"tenant\.acme\.requesty_scale must be \[lowest, highest\]"),
        ("[tenant.acme]\nrequesty_scale = [1, 2, 3]", r"requesty_scale must be \[lowest, highest\]"),
        ("[tenant.acme]\nrequesty_scale = [false, true]", r"requesty_scale must be \[lowest, highest\]"),
        ("[tenant.acme]\nrequesty_scale = [1, inf]", r"requesty_scale must be \[lowest, highest\]"),
        ("[tenant.acme]\nrequesty_scale = [5, 1]", r"5 is not below 1"),
        ("tenant = 1", r"\[tenant\.NAME\]"),
        ("[tenant]\nacme = 1", r"\[tenant\.acme\]"),
    ],
)
def test_a_malformed_tenants_section_is_an_error_that_names_it(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load({}, written(tmp_path, text))


@pytest.mark.parametrize("text", ["epoch = 'x'\n", "epoch = \n"])
def test_a_malformed_file_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError):
        load({}, written(tmp_path, text))


def test_a_malformed_value_is_an_error_that_names_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=r"THUMBSTREAM_EPOCH.*'many'"):
        load({"THUMBSTREAM_EPOCH": "many"})


def test_secrets_and_everything_passed_through_are_masked() -> None:
    settings = Settings(clickhouse_password="hunter2", clickhouse_analyst_password="hunter3", kafka={"sasl": "hunter4"})
    shown = dict(settings.describe())
    assert "hunter" not in str(shown)
    assert shown["THUMBSTREAM_CLICKHOUSE_PASSWORD"] == "***"
    assert shown["THUMBSTREAM_KAFKA"] == "sasl=***"
    assert dict(Settings().describe())["THUMBSTREAM_CLICKHOUSE_PASSWORD"] == ""


def test_everything_that_sounds_secret_is_a_secret() -> None:
    for item in fields(Settings):
        if any(word in item.name for word in ("password", "secret")):
            assert item.metadata["secret"], item.name


def test_every_setting_is_shown_and_has_a_sentence() -> None:
    assert [name for name, _value in Settings().describe()] == [PREFIX + item.name.upper() for item in fields(Settings)]
    assert all(item.metadata["sentence"] for item in fields(Settings))


def test_every_default_has_the_type_that_its_parser_makes() -> None:
    for item in fields(Settings):
        default = getattr(Settings(), item.name)
        if "parse" in item.metadata and default is not None:
            assert item.metadata["parse"](str(default)) == default, item.name


def test_topics_follow_the_settings() -> None:
    topics = Settings(topic_prefix="x.", event_partitions=2, minute_partitions=3).topics
    assert (topics.events.name, topics.events.partitions, topics.minutes.partitions) == ("x.events", 2, 3)


def test_origins_and_limits_are_read_and_written_the_same() -> None:
    environment = {
        "THUMBSTREAM_PAGE_ORIGINS": "https://a.example, http://b.example:8080",
        "THUMBSTREAM_LIMIT_PER_KEY": "20/100",
        "THUMBSTREAM_LIMIT_PER_ADDRESS": "",
    }
    settings = load(environment)
    assert settings.page_origins == ("https://a.example", "http://b.example:8080")
    assert settings.limit_per_key == (20, 100)
    assert settings.limit_per_address is None
    shown = dict(settings.describe())
    assert shown["THUMBSTREAM_PAGE_ORIGINS"] == "https://a.example,http://b.example:8080"
    assert (shown["THUMBSTREAM_LIMIT_PER_KEY"], shown["THUMBSTREAM_LIMIT_PER_ADDRESS"]) == ("20/100", "")
    again = load({name: value for name, value in shown.items() if name in environment})
    assert again == settings


@pytest.mark.parametrize(
    ("name", "value"), [("PAGE_ORIGINS", "a.example"), ("LIMIT_PER_KEY", "20"), ("LIMIT_PER_TOKEN", "fast")]
)
def test_an_origin_or_limit_that_is_none_is_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"THUMBSTREAM_{name}"):
        load({f"THUMBSTREAM_{name}": value})
