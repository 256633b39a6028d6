# SPDX-License-Identifier: Apache-2.0
"""The mwaa API through boto3: operations, states and error classes."""

from __future__ import annotations

import asyncio
import datetime

import boto3
import pytest
import requests
from botocore.exceptions import ClientError

from tests.local.lab import KEY, ROLE, SECRET, Lab, tells_identity, until

ARN = "arn:aws:airflow:us-east-1:123456789012:environment/"


def refusal(call, *args, **kwargs) -> ClientError:
    with pytest.raises(ClientError) as caught:
        call(*args, **kwargs)
    return caught.value


def test_an_environment_is_created_and_described(lab: Lab) -> None:
    client = lab.client()
    answer = client.create_environment(
        **lab.create_arguments(
            AirflowVersion="2.10.3",
            AirflowConfigurationOptions={"core.default_timezone": "utc"},
            MaxWorkers=3,
            Tags={"team": "data"},
            LoggingConfiguration={"TaskLogs": {"Enabled": True, "LogLevel": "INFO"}},
            DagS3Path="/flows/",
        )
    )
    assert answer["Arn"] == ARN + "made"
    lab.settled("made")
    described = client.get_environment(Name="made")["Environment"]
    assert described["Status"] == "AVAILABLE"
    assert described["AirflowVersion"] == "2.10.3"
    assert described["AirflowConfigurationOptions"] == {"core.default_timezone": "utc"}
    assert (described["MaxWorkers"], described["MinWorkers"]) == (3, 1)
    assert described["Tags"] == {"team": "data"}
    assert described["NetworkConfiguration"] == lab.network()
    assert described["ExecutionRoleArn"] == ROLE == lab.factory.of("made").spec.execution_role_arn
    assert described["SourceBucketArn"] == "arn:aws:s3:::bucket"
    assert described["DagS3Path"] == "flows"
    assert described["LastUpdate"]["Status"] == "SUCCESS"
    assert isinstance(described["CreatedAt"], datetime.datetime)
    assert abs(datetime.datetime.now(datetime.UTC) - described["CreatedAt"]).total_seconds() < 30
    logs = described["LoggingConfiguration"]["TaskLogs"]
    assert logs["CloudWatchLogGroupArn"].endswith("log-group:airflow-made-Task")
    runtime = lab.factory.of("made")
    assert (runtime.spec.bucket, runtime.spec.dag_s3_path) == ("bucket", "flows")
    assert runtime.public_url == f"https://{described['WebserverUrl']}"


def test_the_logs_of_tasks_are_sent_unless_it_is_said_otherwise(lab: Lab) -> None:
    client = lab.client()
    client.create_environment(
        **lab.create_arguments(LoggingConfiguration={"WorkerLogs": {"Enabled": True, "LogLevel": "ERROR"}})
    )
    lab.settled("made")

    def logs() -> dict:
        described = client.get_environment(Name="made")["Environment"]["LoggingConfiguration"]
        return {name: (module["Enabled"], module["LogLevel"]) for name, module in described.items()}

    off, on = (False, "INFO"), (True, "INFO")
    expected = {"DagProcessingLogs": off, "SchedulerLogs": off, "TaskLogs": on, "WebserverLogs": off}
    assert logs() == {**expected, "WorkerLogs": (True, "ERROR")}
    client.update_environment(Name="made", LoggingConfiguration={"TaskLogs": {"Enabled": False, "LogLevel": "WARNING"}})
    lab.settled("made")
    assert logs() == {**expected, "WorkerLogs": (True, "ERROR"), "TaskLogs": (False, "WARNING")}
    assert len(lab.factory.made) == 1, "Airflow does not restart for it"


def test_states_of_a_creation(lab: Lab) -> None:
    lab.call(lab.factory.start_gate.clear)
    client = lab.client()
    client.create_environment(**lab.create_arguments())
    described = client.get_environment(Name="made")["Environment"]
    assert described["Status"] == "CREATING"
    assert described["LastUpdate"]["Status"] == "PENDING"
    assert "WebserverUrl" not in described
    refused = refusal(client.create_cli_token, Name="made")
    assert isinstance(refused, client.exceptions.ResourceNotFoundException)
    assert "CREATING" in str(refused)
    refused = refusal(client.create_web_login_token, Name="made")
    assert isinstance(refused, client.exceptions.ValidationException)
    assert "CREATING" in str(refused)
    assert isinstance(refusal(client.update_environment, Name="made"), client.exceptions.ValidationException)
    lab.call(lab.factory.start_gate.set)
    assert lab.settled("made").status == "AVAILABLE"


def test_a_failed_creation_says_why(lab: Lab) -> None:
    client = lab.client()
    client.create_environment(**lab.create_arguments(AirflowConfigurationOptions={"core.broken": "yes"}))
    environment = lab.settled("made")
    described = client.get_environment(Name="made")["Environment"]
    assert described["Status"] == "CREATE_FAILED"
    assert described["LastUpdate"]["Status"] == "FAILED"
    assert described["LastUpdate"]["Error"]["ErrorMessage"] == "Airflow did not start: exit status 1"
    assert environment.error_log_tail == "line 1\nline 2"
    assert not lab.factory.of("made").running
    client.delete_environment(Name="made")
    assert lab.settled("made") is None


def test_a_bug_in_the_runtime_is_a_failed_creation_too(lab: Lab) -> None:
    environment = lab.environment("made", configuration={"core.broken": "bug"})
    assert (environment.status, environment.error) == ("CREATE_FAILED", "a bug in the runtime")


def test_a_name_is_taken_once(source: Lab) -> None:
    client = source.client()
    refused = refusal(client.create_environment, **source.create_arguments("source"))
    assert isinstance(refused, client.exceptions.ValidationException)
    assert "already exists" in str(refused)


def test_an_unsupported_version_names_the_supported_ones(source: Lab) -> None:
    client = source.client()
    arguments = source.create_arguments(AirflowVersion="1.10.12")
    for refused in (
        refusal(client.create_environment, **arguments),
        refusal(client.update_environment, Name="source", AirflowVersion="1.10.12"),
    ):
        assert isinstance(refused, client.exceptions.ValidationException)
        assert "3.3.1, 2.10.3" in str(refused)
    assert client.list_environments()["Environments"] == ["source"]


def test_the_default_version_is_the_factorys_first(lab: Lab) -> None:
    lab.client().create_environment(**lab.create_arguments())
    assert lab.settled("made").spec.airflow_version == "3.3.1"


def test_an_update_restarts_airflow_with_the_new_configuration(source: Lab) -> None:
    client = source.client()
    old = source.factory.of("source")
    url = client.get_environment(Name="source")["Environment"]["WebserverUrl"]
    source.call(source.factory.start_gate.clear)
    client.update_environment(Name="source", AirflowConfigurationOptions={"core.parallelism": "8"}, MaxWorkers=7)
    until(lambda: len(source.factory.made) == 2)
    assert client.get_environment(Name="source")["Environment"]["Status"] == "UPDATING"
    assert client.create_cli_token(Name="source")["CliToken"]
    with source.web() as web:
        assert web.get(f"https://{url}/", timeout=5).status_code == 503
    source.call(source.factory.start_gate.set)
    source.settled("source")
    described = client.get_environment(Name="source")["Environment"]
    assert described["Status"] == "AVAILABLE"
    assert described["MaxWorkers"] == 7
    assert described["AirflowConfigurationOptions"] == {"core.parallelism": "8"}
    assert described["WebserverUrl"] == url
    assert not old.running
    assert source.factory.of("source").running


def test_another_execution_role_restarts_airflow(source: Lab) -> None:
    client = source.client()
    client.update_environment(Name="source", ExecutionRoleArn=ROLE)
    source.settled("source")
    assert source.factory.of("source").spec.execution_role_arn == ROLE
    assert client.get_environment(Name="source")["Environment"]["ExecutionRoleArn"] == ROLE
    assert len(source.factory.made) == 2


def test_an_update_of_what_airflow_does_not_see_restarts_nothing(source: Lab) -> None:
    client = source.client()
    groups = source.network()["SecurityGroupIds"]
    client.update_environment(Name="source", MaxWorkers=7, NetworkConfiguration={"SecurityGroupIds": groups})
    source.settled("source")
    described = client.get_environment(Name="source")["Environment"]
    assert described["MaxWorkers"] == 7
    assert described["NetworkConfiguration"] == {"SecurityGroupIds": groups}
    assert len(source.factory.made) == 1


def test_every_update_takes_a_state_and_no_other_is_taken_meanwhile(source: Lab) -> None:
    source.mwaa.limits.update_min_s = 0.5
    client = source.client()
    client.update_environment(Name="source", MaxWorkers=7)
    described = client.get_environment(Name="source")["Environment"]
    assert (described["Status"], described["LastUpdate"]["Status"]) == ("UPDATING", "PENDING")
    assert described["MaxWorkers"] == 10
    refused = refusal(client.update_environment, Name="source", MaxWorkers=8)
    assert isinstance(refused, client.exceptions.ValidationException)
    assert "UPDATING" in str(refused)
    source.settled("source")
    described = client.get_environment(Name="source")["Environment"]
    assert (described["Status"], described["LastUpdate"]["Status"], described["MaxWorkers"]) == (
        "AVAILABLE",
        "SUCCESS",
        7,
    )


def test_a_graceful_update_lets_running_tasks_end(source: Lab) -> None:
    client = source.client()
    if "WorkerReplacementStrategy" not in client.meta.service_model.shape_for("UpdateEnvironmentInput").members:
        pytest.skip("the installed botocore doesn't know WorkerReplacementStrategy")
    for strategy in ("FORCED", "GRACEFUL"):
        client.update_environment(Name="source", DagS3Path=strategy.lower(), WorkerReplacementStrategy=strategy)
        source.settled("source")
    began = source.factory.events.index("start source 3.3.1")
    assert source.factory.events[began + 1 :] == [
        *("stop source 3.3.1", "start source 3.3.1"),
        *("drain source", "stop source 3.3.1", "start source 3.3.1"),
    ]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"SourceBucketArn": "arn:aws:s3:::no-such-bucket"}, "no such bucket: no-such-bucket"),
        ({"EnvironmentClass": "mw1.huge"}, "EnvironmentClass: mw1.huge isn't valid. Choose mw1.micro, mw1.small"),
        ({"MinWorkers": 5, "MaxWorkers": 4}, "MinWorkers: 5 is above MaxWorkers, 4"),
        ({"MinWorkers": 11}, "MinWorkers: 11 is above MaxWorkers, 10"),
        ({"Schedulers": 1}, "Schedulers: 1 isn't valid for mw1.small. Choose 2 to 5"),
        ({"AirflowConfigurationOptions": {"core.executor": "secret"}}, "core.executor is set by MWAA. Remove it."),
        ({"AirflowConfigurationOptions": {"parallelism": "secret"}}, "parallelism names no section"),
    ],
)
def test_what_can_not_be_is_refused(source: Lab, members, words: str) -> None:
    client = source.client()
    arguments = source.create_arguments()
    for refused in (
        refusal(client.create_environment, **{**arguments, **members}),
        refusal(client.update_environment, Name="source", **members),
    ):
        assert isinstance(refused, client.exceptions.ValidationException)
        assert words in str(refused)
        assert "secret" not in str(refused)
    assert client.list_environments()["Environments"] == ["source"]
    assert client.get_environment(Name="source")["Environment"]["Status"] == "AVAILABLE"


def test_a_network_that_is_not_there_is_refused(lab: Lab) -> None:
    client = lab.client()
    network = lab.network()
    (subnet, other), groups = network["SubnetIds"], network["SecurityGroupIds"]
    ec2 = lab.client("ec2")
    found = ec2.describe_subnets(SubnetIds=[subnet])["Subnets"][0]
    same_zone = ec2.create_subnet(
        VpcId=found["VpcId"], CidrBlock="172.31.240.0/24", AvailabilityZone=found["AvailabilityZone"]
    )["Subnet"]["SubnetId"]
    for broken, words in (
        (
            {"SubnetIds": [subnet, "subnet-0123"], "SecurityGroupIds": groups},
            "no such subnet in us-east-1: subnet-0123",
        ),
        (
            {"SubnetIds": [subnet, other], "SecurityGroupIds": ["sg-0123"]},
            "no such security group in us-east-1: sg-0123",
        ),
        ({"SubnetIds": [subnet, same_zone], "SecurityGroupIds": groups}, "are in one Availability Zone"),
    ):
        refused = refusal(client.create_environment, **{**lab.create_arguments(), "NetworkConfiguration": broken})
        assert isinstance(refused, client.exceptions.ValidationException)
        assert words in str(refused)
    ec2.delete_subnet(SubnetId=same_zone)
    assert client.list_environments()["Environments"] == []


def test_the_smallest_class_has_one_of_each(lab: Lab) -> None:
    client = lab.client()
    assert "Choose 1." in str(
        refusal(client.create_environment, **lab.create_arguments(EnvironmentClass="mw1.micro", Schedulers=2))
    )
    client.create_environment(**lab.create_arguments(EnvironmentClass="mw1.micro"))
    lab.settled("made")
    assert client.get_environment(Name="made")["Environment"]["Schedulers"] == 1


def test_a_failed_update_brings_the_old_airflow_back(source: Lab) -> None:
    client = source.client()
    client.update_environment(Name="source", AirflowConfigurationOptions={"core.broken": "yes"}, MaxWorkers=7)
    source.settled("source")
    described = client.get_environment(Name="source")["Environment"]
    assert described["Status"] == "UPDATE_FAILED"
    assert described["AirflowConfigurationOptions"] == {}
    assert described["MaxWorkers"] == 10
    assert "did not start" in described["LastUpdate"]["Error"]["ErrorMessage"]
    assert source.factory.of("source").running
    assert client.create_cli_token(Name="source")["CliToken"]
    client.update_environment(Name="source", AirflowConfigurationOptions={"core.parallelism": "8"})
    assert source.settled("source").status == "AVAILABLE"


def test_a_failed_roll_back_is_unavailable(source: Lab) -> None:
    async def broken_from_now_on(self, public_url: str) -> None:
        await asyncio.sleep(0)
        raise OSError("no space left on device")

    type_of = type(source.factory.of("source"))
    original = type_of.start
    type_of.start = broken_from_now_on
    try:
        source.client().update_environment(Name="source", DagS3Path="other")
        environment = source.settled("source")
    finally:
        type_of.start = original
    assert (environment.status, environment.error) == ("UNAVAILABLE", "no space left on device")
    client = source.client()
    assert isinstance(refusal(client.create_cli_token, Name="source"), client.exceptions.ResourceNotFoundException)


def test_a_deleted_environment_is_gone(source: Lab) -> None:
    client = source.client()
    url = client.get_environment(Name="source")["Environment"]["WebserverUrl"]
    client.delete_environment(Name="source")
    assert source.settled("source") is None
    assert not source.factory.of("source").running
    for operation in (client.get_environment, client.delete_environment, client.create_cli_token):
        assert isinstance(refusal(operation, Name="source"), client.exceptions.ResourceNotFoundException)
    with source.web() as web, pytest.raises(requests.ConnectionError):
        web.get(f"https://{url}/", timeout=5)
    source.environment("source")
    assert "delete source" in source.factory.events, "its data are removed with it"


def test_an_environment_can_be_deleted_while_it_is_created(lab: Lab) -> None:
    lab.call(lab.factory.start_gate.clear)
    client = lab.client()
    client.create_environment(**lab.create_arguments())
    until(lambda: "start made 3.3.1" in lab.factory.events)
    client.delete_environment(Name="made")
    assert lab.settled("made") is None
    assert lab.factory.events[-2:] == ["stop made 3.3.1", "delete made"], "what was half made is removed"


def test_data_of_a_failed_creation_are_deleted_with_it(lab: Lab) -> None:
    lab.environment("made", configuration={"core.broken": "yes"})
    lab.client().delete_environment(Name="made")
    assert lab.settled("made") is None
    assert lab.factory.events[-1] == "delete made"


def test_environments_are_listed_in_pages(lab: Lab) -> None:
    names = [f"env-{number}" for number in range(5)]
    for name in reversed(names):
        lab.call(lab.mwaa.environments.create, name, bucket="bucket")
    client = lab.client()
    pages = list(client.get_paginator("list_environments").paginate(PaginationConfig={"PageSize": 2}))
    assert [page["Environments"] for page in pages] == [names[:2], names[2:4], names[4:]]
    assert client.list_environments()["Environments"] == names
    refused = refusal(client.list_environments, NextToken="é!")
    assert isinstance(refused, client.exceptions.ValidationException)


def test_tags(source: Lab) -> None:
    client = source.client()
    client.tag_resource(ResourceArn=ARN + "source", Tags={"team": "data", "größe": "klein"})
    client.tag_resource(ResourceArn=ARN + "source", Tags={"team": "platform"})
    assert client.list_tags_for_resource(ResourceArn=ARN + "source")["Tags"] == {
        "team": "platform",
        "größe": "klein",
    }
    client.untag_resource(ResourceArn=ARN + "source", tagKeys=["größe", "absent"])
    assert client.list_tags_for_resource(ResourceArn=ARN + "source")["Tags"] == {"team": "platform"}
    refused = refusal(client.tag_resource, ResourceArn=ARN + "other", Tags={"a": "b"})
    assert isinstance(refused, client.exceptions.ResourceNotFoundException)
    for key in ("aws:owner", "AWS:owner"):
        refused = refusal(client.tag_resource, ResourceArn=ARN + "source", Tags={key: "b"})
        assert isinstance(refused, client.exceptions.ValidationException)
        assert f"Tags: {key} begins with aws:, which is reserved by AWS. Choose another key." in str(refused)
        assert key in str(refusal(client.create_environment, **source.create_arguments(Tags={key: "b"})))
    many = {f"tag-{number}": "x" for number in range(50)}
    refused = refusal(client.tag_resource, ResourceArn=ARN + "source", Tags=many)
    assert isinstance(refused, client.exceptions.ValidationException)


def test_tokens_carry_host_and_identity(source: Lab) -> None:
    client = source.client()
    web = client.create_web_login_token(Name="source")
    cli = client.create_cli_token(Name="source")
    assert web["WebServerHostname"] == cli["WebServerHostname"]
    if tells_identity(client):
        assert web["IamIdentity"] == f"assumed-role/LocalMwaa/{KEY}"
    assert web["WebToken"] != client.create_web_login_token(Name="source")["WebToken"]


def test_what_is_not_implemented_says_so_by_name(source: Lab) -> None:
    metric = {"MetricName": "x", "Timestamp": datetime.datetime.now(datetime.UTC)}
    refused = refusal(source.client().publish_metrics, EnvironmentName="source", MetricData=[metric])
    assert refused.response["Error"] == {
        "Code": "NotImplementedException",
        "Message": "not implemented: PublishMetrics",
    }
    assert refused.response["ResponseMetadata"]["HTTPStatusCode"] == 501


def test_host_prefix_can_be_switched_off_in_the_environment(source: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DISABLE_HOST_PREFIX_INJECTION", "true")
    client = boto3.client(
        "mwaa",
        endpoint_url=source.url,
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        region_name="us-east-1",
    )
    if client.meta.config.inject_host_prefix:
        pytest.skip("this botocore doesn't know AWS_DISABLE_HOST_PREFIX_INJECTION")
    assert client.get_environment(Name="source")["Environment"]["Name"] == "source"


def test_the_endpoint_listens_on_loopback_only(lab: Lab) -> None:
    with pytest.raises(ValueError, match="loopback only"):
        lab.wait(Lab(lab.certificates, "http://127.0.0.1:1").mwaa.start("0.0.0.0"))


def test_a_taken_port_is_named(lab: Lab) -> None:
    port = int(lab.url.rpartition(":")[2])
    other = Lab(lab.certificates, "http://127.0.0.1:1")
    with pytest.raises(OSError, match=f"127.0.0.1 port {port}"):
        lab.wait(other.mwaa.start(port=port))
    lab.wait(other.mwaa.stop())


def test_stopping_ends_every_airflow_and_gateway(certificates, moto_url: str) -> None:
    lab = Lab(certificates, moto_url)
    lab.start()
    lab.environment("one")
    lab.environment("two")
    lab.call(lab.factory.start_gate.clear)
    lab.call(lab.mwaa.environments.create, "three", bucket="bucket")
    until(lambda: "start three 3.3.1" in lab.factory.events)
    lab.wait(lab.mwaa.stop())
    assert sorted(event for event in lab.factory.events if event.startswith("stop")) == [
        "stop one 3.3.1",
        "stop three 3.3.1",
        "stop two 3.3.1",
    ]
    lab.stop()
    assert SECRET not in repr(lab.mwaa)
