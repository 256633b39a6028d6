# SPDX-License-Identifier: Apache-2.0
"""CloudWatch at the local endpoint rejects what AWS documents as rejected, in the protocol of the caller."""

from __future__ import annotations

import gzip
import json
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError

from airflow_mwaa_provider.local.aws import cbor, cloudwatch_checks
from tests.local.lab import REGION, Lab

NOW = datetime.now(UTC)
SPECIAL = (float("nan"), float("inf"), -float("inf"))


@pytest.fixture(scope="module")
def module_lab(certificates: Any, moto_url: str) -> Iterator[Lab]:
    lab = Lab(certificates, moto_url)
    lab.start()
    yield lab
    lab.stop()


@pytest.fixture(scope="module")
def cloudwatch(module_lab: Lab) -> Any:
    # The client's own checks are not tested here.
    return module_lab.client("cloudwatch", parameter_validation=False)


def metric(**more: Any) -> dict[str, Any]:
    return {"MetricName": "m", "Value": 1.0, **more}


def without_value(**more: Any) -> dict[str, Any]:
    return {"MetricName": "m", **more}


def dimensions(count: int = 1, name: str = "n{}", value: str = "v") -> dict[str, Any]:
    return {"Dimensions": [{"Name": name.format(number), "Value": value} for number in range(count)]}


def statistics(**changed: float) -> dict[str, Any]:
    return {"StatisticValues": {"SampleCount": 2.0, "Sum": 3.0, "Minimum": 1.0, "Maximum": 2.0, **changed}}


INVALID, MISSING, COMBINATION = "InvalidParameterValue", "MissingParameter", "InvalidParameterCombination"
REFUSED_METRICS = {
    # The limits of PutMetricData and MetricDatum, in the order of the API reference.
    "1,001 metrics": ([metric()] * 1_001, INVALID, "must not have a size greater than 1000"),
    "no metrics": ([], MISSING, "MetricData is required"),
    "no name": ([{"Value": 1.0}], MISSING, r"MetricData.member.1.MetricName is required"),
    "an empty name": ([metric(MetricName="")], INVALID, "MetricName"),
    "a name of 256": ([metric(MetricName="m" * 256)], INVALID, "shorter than 256 characters"),
    "a name that is not ASCII": ([metric(MetricName="größe")], INVALID, "MetricName contains non-ASCII characters"),
    "the second of two": ([metric(), metric(Unit="Bogus")], INVALID, r"MetricData.member.2.Unit .*Seconds"),
    "31 dimensions": ([metric(**dimensions(31))], INVALID, "Dimensions must not have a size greater than 30"),
    "an empty dimension": ([metric(**dimensions(name=""))], INVALID, "Dimensions.member.1.Name"),
    "a dimension of 256": ([metric(**dimensions(name="n" * 256))], INVALID, "shorter than 256"),
    "a dimension with a colon": ([metric(**dimensions(name=":n"))], INVALID, "Dimensions.member.1.Name"),
    "an empty value": ([metric(**dimensions(value=""))], INVALID, "Dimensions.member.1.Value"),
    "a blank value": ([metric(**dimensions(value=" \t"))], INVALID, "Dimensions.member.1.Value"),
    "a value of 1,025": ([metric(**dimensions(value="v" * 1_025))], INVALID, "shorter than 1025"),
    "a value that is not ASCII": ([metric(**dimensions(value="ü"))], INVALID, "contains non-ASCII characters"),
    "a control character": ([metric(**dimensions(value="a\x07"))], INVALID, "control characters"),
    "15 days ago": ([metric(Timestamp=NOW - timedelta(days=15))], INVALID, "two weeks in the past"),
    "in 3 hours": ([metric(Timestamp=NOW + timedelta(hours=3))], INVALID, "two hours in the future"),
    "no value at all": ([without_value()], MISSING, "Value"),
    "Value with Values": ([metric(Values=[1.0])], COMBINATION, "mutually exclusive"),
    "Value with statistics": ([metric(**statistics())], COMBINATION, "mutually exclusive"),
    "Values with statistics": ([without_value(Values=[1.0], **statistics())], COMBINATION, "mutually exclusive"),
    "151 values": ([without_value(Values=[1.0] * 151)], INVALID, "Values must not have a size greater than 150"),
    "too few counts": ([without_value(Values=[1.0, 2.0], Counts=[1.0])], INVALID, "same size"),
    "a negative count": ([without_value(Values=[1.0], Counts=[-1.0])], INVALID, "Counts.member.1"),
    "counts of nothing": ([metric(Counts=[1.0])], COMBINATION, "Counts"),
    "too large": ([metric(Value=2.0**361)], INVALID, r"MetricData.member.1.Value is invalid"),
    "too small": ([metric(Value=-(2.0**361))], INVALID, r"MetricData.member.1.Value is invalid"),
    "too large among values": ([without_value(Values=[1.0, 1e300])], INVALID, r"Values.member.2"),
    "a maximum below the minimum": ([without_value(**statistics(Maximum=0.0))], INVALID, "Maximum"),
    "a resolution of 10": ([metric(StorageResolution=10)], INVALID, "StorageResolution"),
}
TAKEN_METRICS = {
    "1,000 metrics": [metric()] * 1_000,
    "30 dimensions": [metric(**dimensions(30))],
    "names of the greatest length": [
        metric(MetricName="m" * 255, **dimensions(name="n" * 255, value="v" * 1_024)),
    ],
    "nearly two weeks ago": [metric(Timestamp=NOW - timedelta(days=13, hours=23))],
    "in nearly two hours": [metric(Timestamp=NOW + timedelta(minutes=115))],
    "150 values": [without_value(Values=[float(number) for number in range(150)])],
    "counts": [without_value(Values=[1.0, 2.0], Counts=[3.0, 0.5])],
    "the greatest magnitude": [metric(Value=2.0**360), metric(Value=-(2.0**360))],
    "statistics": [without_value(**statistics())],
    "each resolution": [metric(StorageResolution=1), metric(StorageResolution=60)],
}


@pytest.mark.parametrize("case", REFUSED_METRICS)
def test_metrics_that_cloudwatch_refuses(cloudwatch: Any, case: str) -> None:
    data, code, message = REFUSED_METRICS[case]
    with pytest.raises(ClientError) as refused:
        cloudwatch.put_metric_data(Namespace="Refused", MetricData=data)
    assert refused.value.response["Error"]["Code"] == code
    assert re.search(message, refused.value.response["Error"]["Message"])
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert cloudwatch.list_metrics(Namespace="Refused")["Metrics"] == []


@pytest.mark.parametrize("value", SPECIAL)
def test_numbers_that_are_none(cloudwatch: Any, value: float) -> None:
    for data in (metric(Value=value), without_value(Values=[1.0, value]), without_value(**statistics(Sum=value))):
        with pytest.raises(ClientError, match=INVALID):
            cloudwatch.put_metric_data(Namespace="Refused", MetricData=[data])


@pytest.mark.parametrize("case", TAKEN_METRICS)
def test_metrics_at_the_limits_are_taken(cloudwatch: Any, case: str) -> None:
    cloudwatch.put_metric_data(Namespace=f"Taken/{case}", MetricData=TAKEN_METRICS[case])
    assert cloudwatch.list_metrics(Namespace=f"Taken/{case}")["Metrics"]


@pytest.mark.parametrize("namespace", ["AWS/MWAA", "AWS/EC2", ":mine", "", "ü", "\t"])
def test_namespaces_that_cloudwatch_refuses(cloudwatch: Any, namespace: str) -> None:
    with pytest.raises(ClientError, match=f"{INVALID}|{MISSING}"):
        cloudwatch.put_metric_data(Namespace=namespace, MetricData=[metric()])


def test_a_namespace_that_only_looks_like_one_of_awss_is_taken(cloudwatch: Any) -> None:
    cloudwatch.put_metric_data(Namespace="AmazonMWAA", MetricData=[metric()])
    cloudwatch.put_metric_data(Namespace="aws/mine", MetricData=[metric()])


def test_more_than_a_megabyte_is_too_much_however_well_it_is_compressed(cloudwatch: Any) -> None:
    """botocore compresses requests from 10 KB; the limit applies to the uncompressed size."""
    data = [metric(**dimensions(30, value="v" * 1_024)) for _ in range(40)]
    with pytest.raises(ClientError) as refused:
        cloudwatch.put_metric_data(Namespace="Refused", MetricData=data)
    assert refused.value.response["Error"]["Code"] == "RequestEntityTooLarge"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413


def alarm(**changed: Any) -> dict[str, Any]:
    """Return the parameters of an alarm; a value of None removes a member."""
    given = {
        "AlarmName": "a",
        "Namespace": "N",
        "MetricName": "m",
        "Statistic": "Average",
        "Period": 60,
        "EvaluationPeriods": 5,
        "Threshold": 1.0,
        "ComparisonOperator": "GreaterThanThreshold",
        **changed,
    }
    return {name: value for name, value in given.items() if value is not None}


OF_ONE_METRIC = dict.fromkeys(("Namespace", "MetricName", "Statistic", "Period"))


def by_queries(*queries: dict[str, Any], **changed: Any) -> dict[str, Any]:
    return alarm(**OF_ONE_METRIC, Metrics=list(queries), **changed)


def query(query_id: str, *, returned: bool = True, period: int = 60, **more: Any) -> dict[str, Any]:
    stat = {"Metric": {"Namespace": "N", "MetricName": "m"}, "Period": period, "Stat": "Sum"}
    return {"Id": query_id, "ReturnData": returned, **({} if "Expression" in more else {"MetricStat": stat}), **more}


TOPIC = f"arn:aws:sns:{REGION}:123456789012:on-call"
REFUSED_ALARMS = {
    "an empty name": (alarm(AlarmName=""), "alarmName"),
    "a name of 256": (alarm(AlarmName="a" * 256), "less than or equal to 255"),
    "a name with a line break": (alarm(AlarmName="a\nb"), "control characters"),
    "a period of 45": (alarm(Period=45), "multiple of 60"),
    "a period of 0": (alarm(Period=0), "period"),
    "no period": (alarm(Period=None), "Period is required"),
    "no namespace": (alarm(Namespace=None), "Namespace is required"),
    "no metric": (alarm(MetricName=None), "MetricName"),
    "a metric that is not ASCII": (alarm(MetricName="größe"), "MetricName must not contain Non-ASCII characters"),
    "no evaluation periods": (alarm(EvaluationPeriods=None), "[eE]valuationPeriods"),
    "0 evaluation periods": (alarm(EvaluationPeriods=0), "evaluationPeriods"),
    "more points than periods": (alarm(DatapointsToAlarm=6), "DatapointsToAlarm must be less than or equal"),
    "over a day of minutes": (alarm(EvaluationPeriods=1_441), "86400 seconds"),
    "over a week of hours": (alarm(Period=3_600, EvaluationPeriods=169), "604800 seconds"),
    "no statistic": (alarm(Statistic=None), "Statistic"),
    "an unknown statistic": (alarm(Statistic="Median"), "statistic"),
    "two statistics": (alarm(ExtendedStatistic="p90"), "Statistic"),
    "no percentile": (alarm(Statistic=None, ExtendedStatistic="90"), "ExtendedStatistic"),
    "a range without its end": (alarm(Statistic=None, ExtendedStatistic="PR(1:"), "ExtendedStatistic"),
    "an unknown unit": (alarm(Unit="Bogus"), "unit"),
    "an unknown operator": (alarm(ComparisonOperator="Above"), "comparisonOperator"),
    "no operator": (alarm(ComparisonOperator=None), "[cC]omparisonOperator"),
    "no threshold": (alarm(Threshold=None), "Threshold"),
    "an operator of a band": (alarm(ComparisonOperator="LessThanLowerThreshold"), "anomaly detection"),
    "a threshold that is none": (alarm(Threshold=float("nan")), "finite"),
    "missing data": (alarm(TreatMissingData="ok"), "TreatMissingData"),
    "31 dimensions": (alarm(**dimensions(31)), "less than or equal to 30"),
    "a description of 1,025": (alarm(AlarmDescription="d" * 1_025), "less than or equal to 1024"),
    "an action that is no ARN": (alarm(AlarmActions=["on-call"]), "Invalid arn syntax: on-call"),
    "an action of no service": (alarm(OKActions=["arn:aws:s3:::bucket"]), "Invalid arn syntax"),
    "six actions": (alarm(AlarmActions=[TOPIC] * 6), "less than or equal to 5"),
    "a metric and queries": (alarm(Metrics=[query("m1")]), "must not be specified together"),
    "no query that returns": (by_queries(query("m1", returned=False)), "Exactly one element"),
    "two queries that return": (by_queries(query("m1"), query("m2")), "Exactly one element"),
    "an id in capitals": (by_queries(query("M1")), "The value M1 for parameter Id is not matching"),
    "the same id twice": (by_queries(query("m1"), query("m1", returned=False)), "unique"),
    "a query of 45 s": (by_queries(query("m1", period=45)), "multiple of 60"),
    "a long query": (by_queries(query("m1"), EvaluationPeriods=1_441), "86400 seconds"),
}
TAKEN_ALARMS = {
    "a plain one": alarm(),
    "a short period": alarm(Period=10, EvaluationPeriods=3, DatapointsToAlarm=2),
    "a day of minutes": alarm(EvaluationPeriods=1_440),
    "a week of hours": alarm(Period=3_600, EvaluationPeriods=168),
    "a percentile": alarm(Statistic=None, ExtendedStatistic="p99.9"),
    "missing data": alarm(TreatMissingData="notBreaching"),
    "actions": alarm(
        AlarmActions=[TOPIC, f"arn:aws:automate:{REGION}:ec2:stop"],
        OKActions=[f"arn:aws:lambda:{REGION}:123456789012:function:f:1"],
    ),
    "an expression": by_queries(
        query("m1", returned=False), query("m2", returned=False), query("e", Expression="m1/m2")
    ),
}


@pytest.mark.parametrize("case", REFUSED_ALARMS)
def test_alarms_that_cloudwatch_refuses(cloudwatch: Any, case: str) -> None:
    members, message = REFUSED_ALARMS[case]
    with pytest.raises(ClientError) as refused:
        cloudwatch.put_metric_alarm(**members)
    assert refused.value.response["Error"]["Code"] == "ValidationError"
    assert re.search(message, refused.value.response["Error"]["Message"])


@pytest.mark.parametrize("case", TAKEN_ALARMS)
def test_alarms_that_cloudwatch_takes(cloudwatch: Any, case: str) -> None:
    name = f"taken {case}"
    cloudwatch.put_metric_alarm(**{**TAKEN_ALARMS[case], "AlarmName": name})
    assert [each["AlarmName"] for each in cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]] == [name]
    cloudwatch.delete_alarms(AlarmNames=[name])  # other tests use the same moto


LINE = ["AmazonMWAA", "RunningTasks", "Function", "Executor", "Environment", "e"]


def widget(**changed: Any) -> dict[str, Any]:
    return {"type": "metric", "x": 0, "y": 0, "width": 12, "height": 6, "properties": graph(), **changed}


def graph(**changed: Any) -> dict[str, Any]:
    return {"metrics": [LINE], "region": REGION, **changed}


def body(*widgets: Any, **more: Any) -> dict[str, Any]:
    return {"widgets": list(widgets), **more}


def without(of: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in of.items() if key != name}


REFUSED_BODIES = {
    "no widgets": ({}, "", "Should have required property 'widgets'"),
    "widgets that are no array": ({"widgets": {}}, "/widgets", "Should be array"),
    "501 widgets": (body(*[widget()] * 501), "/widgets", "Should NOT have more than 500 items"),
    "no type": (body(without(widget(), "type")), "/widgets/0", "Should have required property 'type'"),
    "no properties": (body(without(widget(), "properties")), "/widgets/0", "required property 'properties'"),
    "an unknown type": (body(widget(), widget(type="pie")), "/widgets/1/type", "one of the allowed values"),
    "beyond the grid": (body(widget(x=24)), "/widgets/0/x", "Should be <= 23"),
    "before the grid": (body(widget(y=-1)), "/widgets/0/y", "Should be >= 0"),
    "too wide": (body(widget(width=25)), "/widgets/0/width", "Should be <= 24"),
    "no width": (body(widget(width=0)), "/widgets/0/width", "Should be >= 1"),
    "too high": (body(widget(height=1_001)), "/widgets/0/height", "Should be <= 1000"),
    "half a column": (body(widget(x=0.5)), "/widgets/0/x", "Should be integer"),
    "x without y": (body(without(widget(), "y")), "/widgets/0", "Should have property y"),
    "a graph of nothing": (
        body(widget(properties={"region": REGION})),
        "/widgets/0/properties",
        "should have specified a region and a data source",
    ),
    "no region": (body(widget(properties=without(graph(), "region"))), "/widgets/0/properties", "specified a region"),
    "an unknown view": (body(widget(properties=graph(view="line"))), "/widgets/0/properties/view", "allowed values"),
    "a period of 45": (body(widget(properties=graph(period=45))), "/widgets/0/properties/period", "multiple of 60"),
    "metrics in no array": (
        body(widget(properties=graph(metrics=LINE))),
        "/widgets/0/properties/metrics/0",
        "Should be array",
    ),
    "a dimension of no value": (
        body(widget(properties=graph(metrics=[LINE[:-1]]))),
        "/widgets/0/properties/metrics/0",
        "a value for each dimension",
    ),
    "a color by name": (
        body(widget(properties=graph(metrics=[[*LINE, {"color": "red"}]]))),
        "/widgets/0/properties/metrics/0/6/color",
        "Should match pattern",
    ),
    "501 metrics": (
        body(widget(properties=graph(metrics=[LINE] * 501))),
        "/widgets/0/properties/metrics",
        "Should NOT have more than 500 items",
    ),
    "a gauge of no range": (body(widget(properties=graph(view="gauge"))), "/widgets/0/properties", "gauge"),
    "a text of nothing": (
        body(widget(type="text", properties={})),
        "/widgets/0/properties",
        "Should have required property 'markdown'",
    ),
    "an end of no start": (body(end="2026-01-01T00:00:00Z"), "", "start"),
    "a start of no form": (body(start="yesterday"), "/start", "time"),
    "a period override": (body(periodOverride="yes"), "/periodOverride", "allowed values"),
}
TAKEN_BODIES = {
    "no widgets": body(),
    "500 widgets": body(*[widget()] * 500),
    "all kinds": body(
        widget(type="text", properties={"markdown": "# e"}),
        {"type": "text", "properties": {"markdown": ""}},
        widget(type="log", properties={"query": "SOURCE 'x' | fields @message", "region": REGION}),
        widget(type="alarm", properties={"alarms": [f"arn:aws:cloudwatch:{REGION}:123456789012:alarm:a"]}),
        start="-PT6H",
        periodOverride="inherit",
    ),
    "shorthands": body(
        widget(properties=graph(metrics=[LINE, ["...", "f"], [".", "QueuedTasks", ".", ".", ".", "."]]))
    ),
    "an expression": body(
        widget(
            properties=graph(metrics=[[*LINE, {"id": "m1", "visible": False}], [{"expression": "m1*2", "id": "e1"}]])
        )
    ),
    "an alarm": body(
        widget(properties={"region": REGION, "annotations": {"alarms": ["arn:aws:cloudwatch:us-east-1:1:alarm:a"]}})
    ),
}


@pytest.mark.parametrize("case", REFUSED_BODIES)
def test_dashboards_that_cloudwatch_refuses(cloudwatch: Any, case: str) -> None:
    content, path, message = REFUSED_BODIES[case]
    with pytest.raises(cloudwatch.exceptions.DashboardInvalidInputError) as refused:
        cloudwatch.put_dashboard(DashboardName="refused", DashboardBody=json.dumps(content))
    text = refused.value.response["Error"]["Message"]
    assert text.startswith("The dashboard body is invalid, there are ")
    told = json.loads(text.partition("\n")[2])
    assert [each["message"] for each in told if each["dataPath"] == path and message in each["message"]]
    assert refused.value.response["Error"]["Code"] == "InvalidParameterInput"
    listed = [{"DataPath": each["dataPath"], "Message": each["message"]} for each in told]
    assert refused.value.response["dashboardValidationMessages"] == listed
    assert cloudwatch.list_dashboards(DashboardNamePrefix="refused")["DashboardEntries"] == []


@pytest.mark.parametrize("text", ["", "{", "[]", '"a"', "null"])
def test_a_body_that_is_no_json_object(cloudwatch: Any, text: str) -> None:
    with pytest.raises(ClientError, match=f"InvalidParameterInput|{MISSING}") as refused:
        cloudwatch.put_dashboard(DashboardName="refused", DashboardBody=text)
    assert "DashboardBody" in refused.value.response["Error"]["Message"]


@pytest.mark.parametrize("name", ["a b", "a/b", "a" * 256, "ü"])
def test_names_of_dashboards_that_cloudwatch_refuses(cloudwatch: Any, name: str) -> None:
    with pytest.raises(ClientError, match=INVALID):
        cloudwatch.put_dashboard(DashboardName=name, DashboardBody=json.dumps(body()))


@pytest.mark.parametrize("case", TAKEN_BODIES)
def test_dashboards_that_cloudwatch_takes(cloudwatch: Any, case: str) -> None:
    name = f"taken-{uuid.uuid4().hex}"
    cloudwatch.put_dashboard(DashboardName=name, DashboardBody=json.dumps(TAKEN_BODIES[case]))
    assert json.loads(cloudwatch.get_dashboard(DashboardName=name)["DashboardBody"]) == TAKEN_BODIES[case]
    cloudwatch.delete_dashboards(DashboardNames=[name])


def sent(lab: Lab, content: bytes, path: str = "/", **headers: str) -> requests.Response:
    credential = f"AKIA/20260101/{REGION}/monitoring/aws4_request"
    signature = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0"
    # moto checks the caller's own signature, and accepts any.
    return requests.post(f"{lab.url}{path}", data=content, headers={"Authorization": signature, **headers}, timeout=5)


OVER = {"Namespace": "AWS/Mine", "MetricData": [{"MetricName": "m", "Value": 1.0}]}
FORM = b"Action=PutMetricData&Version=2010-08-01&Namespace=AWS%2FMine&MetricData.member.1.MetricName=m"
TARGET = "GraniteServiceVersion20100801.PutMetricData"


def test_the_query_protocol(module_lab: Lab) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = sent(module_lab, FORM, **headers)
    assert answer.status_code == 400
    assert "<Code>InvalidParameterValue</Code>" in answer.text
    assert "<Message>The value AWS/Mine for parameter Namespace is invalid.</Message>" in answer.text
    zipped = sent(module_lab, gzip.compress(FORM), **headers, **{"Content-Encoding": "gzip"})
    assert "<Code>InvalidParameterValue</Code>" in zipped.text


def test_the_json_protocol(module_lab: Lab) -> None:
    headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": TARGET}
    answer = sent(module_lab, json.dumps(OVER).encode(), **headers)
    assert answer.status_code == 400
    assert answer.headers["x-amzn-query-error"] == "InvalidParameterValue;Sender"
    assert answer.json()["__type"].endswith("#InvalidParameterValueException")
    assert answer.json()["message"] == "The value AWS/Mine for parameter Namespace is invalid."


def test_the_cbor_protocol(module_lab: Lab) -> None:
    headers = {"Content-Type": "application/cbor", "smithy-protocol": "rpc-v2-cbor"}
    path = "/service/GraniteServiceVersion20100801/operation/PutMetricData"
    value = {"Namespace": "AWS/Mine", "MetricData": [{"MetricName": "m"}]}
    answer = sent(module_lab, cbor.dumps(value), path, **headers)
    assert answer.status_code == 400
    assert answer.headers["smithy-protocol"] == "rpc-v2-cbor"
    assert answer.headers["x-amzn-query-error"] == "InvalidParameterValue;Sender"
    told = cbor.loads(answer.content)
    assert told["__type"].endswith("#InvalidParameterValueException")
    assert told["message"] == "The value AWS/Mine for parameter Namespace is invalid."
    assert sent(module_lab, b"\x81", path, **headers).status_code == 400


@pytest.mark.parametrize(
    "statistic",
    ["p99", "p99.9", "tm90", "IQM", "PR(:300)", "PR(100:2000)", "PR(300:)", "PR(-5:10)", "TC(0.005:0.030)",
     "TM(10%:90%)", "TM(:90%)", "TS(80%:)", "WM(-1:5)"],
)  # fmt: skip
def test_statistics_that_aws_documents_are_known(statistic: str) -> None:
    # moto itself accepts only percentiles.
    assert cloudwatch_checks._EXTENDED_STATISTIC.fullmatch(statistic)
