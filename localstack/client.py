"""Connects to a LocalStack: the access key is the account."""

import boto3
from botocore.config import Config


def ec2(endpoint_url: str, account: str, region: str):
    return _connect("ec2", endpoint_url, account, region)


def ssm(endpoint_url: str, account: str, region: str):
    return _connect("ssm", endpoint_url, account, region)


def _connect(service: str, endpoint_url: str, account: str, region: str):
    if len(account) != 12 or not account.isdigit():
        raise SystemExit(f"an account has 12 digits: {account}")
    return boto3.client(
        service,
        endpoint_url=endpoint_url,
        region_name=region,
        aws_access_key_id=account,
        aws_secret_access_key="any",
        config=Config(retries={"max_attempts": 0}, parameter_validation=False, max_pool_connections=32),
    )
