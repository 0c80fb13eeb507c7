"""Seeds, dumps and calls EC2 for the tests, as often as it is asked: to start Python takes longer than what it does.

Reads a JSON list of words a line; answers each with what was printed, as a JSON string in a line.
"""

import contextlib
import io
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "localstack"))

import client  # noqa: E402
import dump  # noqa: E402
import seed  # noqa: E402


def call(url, account, region, action, parameters):
    getattr(client.ec2(url, account, region), action)(**json.loads(parameters))


def run(program, *words):
    sys.argv = [program, *words]
    {"dump": dump, "seed": seed}[program].main()


for line in sys.stdin:
    name, *arguments = json.loads(line)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        call(*arguments) if name == "call" else run(name, *arguments)
    print(json.dumps(printed.getvalue()), flush=True)
