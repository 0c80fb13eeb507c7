"""Checks Terraform files against the excerpt of the provider's schema beside this: types, arguments, attributes, references."""

import json
import re
import sys
from pathlib import Path

import hcl2

SCHEMA = json.loads(Path(__file__).with_name("provider.json").read_text())
META = {"provider", "depends_on"}
REFERENCE = re.compile(r"\b(data\.aws_\w+|aws_\w+|var)\.(\w+)(?:\.(\w+))?")


def texts(value):
    if isinstance(value, dict):
        for key, inner in value.items():
            if key != "content":
                yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, str):
        yield value


def is_of(value, kind):
    kind = kind.rstrip("!")
    if isinstance(value, str) and value.startswith("${"):
        return kind not in ("number", "bool")
    shapes = {"string": str, "number": int, "bool": bool, "list": list, "map": dict}
    return kind in ("any", "type") or (isinstance(value, shapes[kind]) and (kind == "bool") == isinstance(value, bool))


def arguments(where, given, known):
    for name, value in given.items():
        if name in META or name.startswith("__"):
            continue
        kind = known.get(name)
        if kind is None:
            yield f"{where} has no argument {name}"
        elif isinstance(kind, dict):
            for block in value:
                yield from arguments(f"{where}.{name}", block, kind)
        elif not is_of(value, kind):
            yield f"{where}.{name} is to be a {kind}: {value!r:.60}"
    for name, kind in known.items():
        if str(kind).endswith("!") and name not in given:
            yield f"{where} lacks {name}"


def check(path):
    tree = hcl2.loads(path.read_text())
    made, attributes = {"var": set()}, {}
    for block in tree.get("variable", []):
        for name, given in block.items():
            name = name.strip('"')
            made["var"].add(name)
            yield from arguments(f"variable {name}", given, SCHEMA["variable"])
    for sort in ("resource", "data"):
        for block in tree.get(sort, []):
            for kind, named in block.items():
                kind = kind.strip('"')
                schema = SCHEMA[sort].get(kind)
                if schema is None:
                    yield f"the provider's excerpt has no {sort} {kind}"
                    continue
                prefix = "data." if sort == "data" else ""
                attributes[prefix + kind] = schema["attributes"]
                for name, given in named.items():
                    name = name.strip('"')
                    if name in made.setdefault(prefix + kind, set()):
                        yield f"{kind}.{name} is there twice"
                    made[prefix + kind].add(name)
                    yield from arguments(f"{kind}.{name}", given, schema["arguments"])
    for block in tree.get("output", []):
        for name, given in block.items():
            yield from arguments(f"output {name}", given, SCHEMA["output"])
    for text in texts(tree):
        if not text.startswith("${") and "${" not in text:
            continue
        for kind, name, attribute in REFERENCE.findall(text):
            if name not in made.get(kind, ()):
                yield f"{kind}.{name} is nowhere declared"
            elif attribute and attribute not in attributes.get(kind, ()):
                yield f"{kind} has no attribute {attribute}"
    used = {name for text in texts(tree) for kind, name, _ in REFERENCE.findall(text) if kind == "var"}
    for name in sorted(made["var"] - used):
        yield f"variable {name} is used nowhere"


def main():
    wrong = [f"{path}: {problem}" for path in sys.argv[1:] for problem in check(Path(path))]
    print("\n".join(wrong), file=sys.stderr)
    sys.exit(bool(wrong))


main()
