"""An EC2 and a Systems Manager for LocalStack that behave towards a Site-to-Site VPN and its server as AWS does.

LocalStack loads it by its own plug-in mechanism (PROVIDER_OVERRIDE_EC2=cgw, PROVIDER_OVERRIDE_SSM=cgw). Every operation
passes one door, `dispatch`; an operation that has a rule here follows it, every other one is LocalStack's own.

Each rule names where it was learnt. The short names:
  API      AWS EC2 API reference, the page of the operation named
  ERR      AWS EC2 API reference, "Error codes"
  VPN      AWS Site-to-Site VPN user guide
  TF #n    hashicorp/terraform-provider-aws, issue or pull request n: seen on the real service
  belief   nobody public has shown it; to be checked against the real service
"""

from localstack.services.plugins import Service, aws_provider


@aws_provider(api="ec2", name="cgw")
def ec2() -> Service:
    # LocalStack asks for the service on its first call, and only then may its own EC2 be imported.
    from localstack.services.ec2.provider import Ec2Provider

    from . import control, dispatch, model, rules

    model.mend()
    control.serve()

    return Service.for_provider(Ec2Provider(), dispatch_table_factory=dispatch.doors(rules.EC2))


@aws_provider(api="ssm", name="cgw")
def ssm() -> Service:
    from localstack.services.ssm.provider import SsmProvider

    from . import control, dispatch, rules

    control.serve()
    return Service.for_provider(SsmProvider(), dispatch_table_factory=dispatch.doors(rules.SSM))
