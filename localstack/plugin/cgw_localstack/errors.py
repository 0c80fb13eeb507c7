"""Makes the errors that EC2 answers with."""

from localstack.aws.api import CommonServiceException


def refusal(code: str, message: str, status: int = 400) -> CommonServiceException:
    return CommonServiceException(code, message, status_code=status, sender_fault=status < 500)


def invalid(parameter: str, value: object, why: str = "") -> CommonServiceException:
    """ERR, InvalidParameterValue. The value of a pre-shared key is never repeated."""
    return refusal("InvalidParameterValue", f"Value ({value}) for parameter {parameter} is invalid. {why}".rstrip())


def not_found(kind: str, identifier: str) -> CommonServiceException:
    """ERR: `InvalidVpnGatewayID.NotFound`, "The vpnGateway ID 'vgw-1' does not exist"."""
    return refusal(f"Invalid{kind[0].upper()}{kind[1:]}ID.NotFound", f"The {kind} ID '{identifier}' does not exist")
