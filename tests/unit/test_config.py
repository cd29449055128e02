"""The server's configuration: the table of keys, where it is read from, and what is refused."""

import dataclasses
from pathlib import Path
from typing import get_type_hints

import pytest

from joblet import config, configkeys
from joblet.complaint import Complaint
from joblet.config import Config
from joblet.configkeys import KEYS
from joblet.yamlfile import YamlInvalid
from joblet.yamlkinds import Scalar

SPECIFICATION = """\
joblet:
  defaultCpuLimit: 100        # Default CPU percentage
  defaultMemoryLimit: 512     # Default memory in MB
  defaultIoLimit: 0           # Default I/O limit (0=unlimited)
  maxConcurrentJobs: 100      # Maximum concurrent jobs
  jobTimeout: "1h"            # Maximum job runtime
  cleanupTimeout: "5s"        # Resource cleanup timeout

grpc:
  maxRecvMsgSize: 524288      # 512KB max receive message
  maxSendMsgSize: 4194304     # 4MB max send message
  keepAliveTime: "30s"        # Connection keep-alive
"""


def written(folder: Path, text: str, name: str = "joblet-config.yml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def plain(loaded: Config) -> Config:
    """Without its origin."""
    return dataclasses.replace(loaded, source=None, given=frozenset())


def test_the_specifications_own_example_is_the_default(tmp_path: Path) -> None:
    """Source: API specification, "Server Configuration"."""
    loaded = config.read(written(tmp_path, SPECIFICATION))

    assert plain(loaded) == config.defaults()
    assert len(loaded.given) == 9


def test_values_arrive_in_bytes_and_seconds(tmp_path: Path) -> None:
    loaded = config.read(written(tmp_path, "joblet: {defaultMemoryLimit: 2, jobTimeout: 90m, cleanupTimeout: 100ms}"))

    assert loaded.joblet.default_memory_bytes == 2 * 1024 * 1024
    assert loaded.joblet.job_timeout_s == 5400.0
    assert loaded.joblet.cleanup_timeout_s == 0.1


def test_how_long_logs_are_kept_is_said_in_sizes_and_durations_and_0_is_for_ever(tmp_path: Path) -> None:
    loaded = config.read(
        written(tmp_path, "logs: {maxBytesPerJob: 10MiB, maxBytes: 50G, maxAge: 720h, compressAfter: 0}")
    )

    logs = loaded.logs
    assert (logs.max_bytes_per_job, logs.max_bytes) == (10 << 20, 50 << 30)
    assert (logs.max_age_s, logs.compress_after_s) == (2_592_000.0, 0.0)
    assert config.read(written(tmp_path, "logs: {maxBytes: 0, maxAge: 0}")).logs.max_bytes == 0


@pytest.mark.parametrize(
    "key", ["maxBytesPerJob: 4096", "maxBytes: 1", "maxAge: 10ms", "maxAge: 30d", "compressAfter: 1"]
)
def test_a_limit_of_logs_that_cannot_be_meant_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(YamlInvalid, match=r"out of range|not a duration|no unit"):
        config.read(written(tmp_path, f"logs: {{{key}}}"))


def test_every_field_of_every_section_has_its_key() -> None:
    """The table and the dataclasses cannot drift."""
    sections = {
        name: kind for name, kind in get_type_hints(Config).items() if name not in ("source", "given")
    }  # fmt: skip

    in_code = {(name, field.name) for name, kind in sections.items() for field in dataclasses.fields(kind)}

    assert in_code == {(key.section, key.attribute) for key in KEYS}
    assert len({key.path for key in KEYS}) == len(KEYS)


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.path)
def test_a_keys_default_is_a_value_that_its_kind_allows(key: configkeys.Key) -> None:
    shown = key.kind.show(key.default)
    quoted = shown.startswith('"')

    parsed = key.kind.parse(Scalar(shown.strip('"'), quoted))

    assert parsed == key.default
    assert type(parsed) is type(key.default)
    assert key.meaning.endswith((".", ")."))


def test_a_configuration_that_is_shown_can_be_read_back(tmp_path: Path) -> None:
    text = (
        "joblet: {maxConcurrentJobs: 7, jobTimeout: 0}\ngrpc: {maxRecvMsgSize: 1MiB}\nserver: {address: '[::1]:50052'}"
    )
    loaded = config.read(written(tmp_path, text))

    again = config.read(written(tmp_path, config.as_yaml(loaded), "again.yml"))

    assert plain(again) == plain(loaded)
    assert "  maxConcurrentJobs: 7\n" in config.as_yaml(loaded)
    assert "  pidsLimit: 4096  # default\n" in config.as_yaml(loaded)


def test_the_flag_wins_over_the_variable_and_the_variable_over_the_system_file(tmp_path: Path) -> None:
    flag = written(tmp_path, "joblet: {maxConcurrentJobs: 1}", "flag.yml")
    variable = written(tmp_path, "joblet: {maxConcurrentJobs: 2}", "variable.yml")
    system = written(tmp_path, "joblet: {maxConcurrentJobs: 3}", "system.yml")
    environ = {"JOBLET_CONFIG": str(variable)}

    found = [
        config.load(flag, environ, system),
        config.load(None, environ, system),
        config.load(None, {"JOBLET_CONFIG": ""}, system),
        config.load(None, {}, tmp_path / "none.yml"),
    ]

    assert [loaded.joblet.max_concurrent_jobs for loaded in found] == [1, 2, 3, 100]
    assert [loaded.source for loaded in found] == [flag, variable, system, None]


@pytest.mark.parametrize(("by_flag", "named_by"), [(True, "--config"), (False, "JOBLET_CONFIG")])
def test_a_named_file_that_is_missing_is_refused(tmp_path: Path, by_flag: bool, named_by: str) -> None:
    missing = tmp_path / "missing.yml"

    with pytest.raises(Complaint) as refused:
        config.load(missing if by_flag else None, {} if by_flag else {"JOBLET_CONFIG": str(missing)})

    assert refused.value.what == (
        f"cannot read the configuration file {missing} (named by {named_by}): no such file or directory"
    )


def test_a_system_file_that_cannot_be_used_is_not_passed_over(tmp_path: Path) -> None:
    with pytest.raises(YamlInvalid, match="cannot be read: is a directory"):
        config.load(None, {}, tmp_path)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "joblet:\n  maxConcurentJobs: 7\n",
            ":2:3: joblet.maxConcurentJobs: unknown key; did you mean maxConcurrentJobs?",
        ),
        ("joblt: {}\n", ":1:1: joblt: unknown key; did you mean joblet?"),
        (
            "joblet: {keepAliveTime: 30s}\n",
            ":1:10: joblet.keepAliveTime: unknown key here; did you mean grpc.keepAliveTime?",
        ),
        (
            "maxConcurrentJobs: 7\n",
            ":1:1: maxConcurrentJobs: unknown key here; did you mean joblet.maxConcurrentJobs?",
        ),
        (
            "joblet:\n  maxConcurrentJobs: 0\n",
            ":2:22: joblet.maxConcurrentJobs: 0 is out of range (allowed: a whole number from 1 to 65536)",
        ),
        (
            "joblet:\n  jobTimeout: 3600\n",
            ":2:15: joblet.jobTimeout: 3600 has no unit; did you mean 3600s?"
            " (allowed: a duration such as 100ms, 30s, 5m or 1h30m, from 1s to 8760h, or 0 for no limit)",
        ),
        (
            "grpc:\n  maxSendMsgSize: 4 TB\n",
            ":2:19: grpc.maxSendMsgSize: 4 TB is not a size"
            " (allowed: bytes such as 524288, or with a unit such as 512KiB or 4MiB, from 1024 to 2147483647)",
        ),
        (
            "isolation:\n  cgroups: on\n",
            ":2:12: isolation.cgroups: on is not one of them (allowed: one of required, auto, off)",
        ),
        (
            "server:\n  address: localhost\n",
            ":2:12: server.address: localhost is not HOST:PORT"
            " (allowed: HOST:PORT such as 0.0.0.0:50051 or [::]:50051)",
        ),
        (
            "logs:\n  level: info\n",
            ":2:10: logs.level: info is not one of them; did you mean INFO?"
            " (allowed: one of DEBUG, INFO, WARN, ERROR)",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_refused_with_file_line_key_and_what_is_allowed(tmp_path: Path, text: str, complaint: str) -> None:
    path = written(tmp_path, text)

    with pytest.raises(YamlInvalid) as refused:
        config.load(path, {})

    assert str(refused.value) == f"{path}{complaint}"


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("0.0.0.0:50051", ("0.0.0.0", 50051)),
        ("[::1]:0", ("::1", 0)),
        ("prod.example.com:443", ("prod.example.com", 443)),
    ],
)
def test_an_address_is_host_and_port(address: str, parts: tuple[str, int]) -> None:
    assert configkeys.check_address(address) == parts


@pytest.mark.parametrize(
    "address", ["", ":1", "host", "host:", "host:x", "::1:50051", "a b:1", "host:65536", "host:1\n"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"is not HOST:PORT|has a port above 65535"):
        configkeys.check_address(address)


@pytest.mark.parametrize(
    ("supervisor", "without_effect"),
    [("own", ()), ("service", ("isolation.cgroups", "joblet.cleanupTimeout", "joblet.pidsLimit"))],
)
def test_what_a_supervisor_of_the_service_manager_never_learns_is_told(
    tmp_path: Path, supervisor: str, without_effect: tuple[str, ...]
) -> None:
    text = f"isolation: {{supervisor: {supervisor}, cgroups: auto}}\njoblet: {{cleanupTimeout: 5s, pidsLimit: 9}}\n"

    loaded = config.read(written(tmp_path, text))

    assert config.without_effect(loaded) == without_effect


def test_a_key_that_the_file_does_not_set_is_not_told_of(tmp_path: Path) -> None:
    assert config.without_effect(config.read(written(tmp_path, "isolation: {supervisor: service}\n"))) == ()
