"""What Windows PowerShell 4 would object to in a script: syntax, unknown commands, parameters and programs."""

import json
import re
from pathlib import Path

import tree_sitter_powershell
from tree_sitter import Language, Parser

DATA = Path(__file__).resolve().parent.parent / "data"


class Checker:
    """Says what Windows PowerShell 4 would object to in a set of scripts that see one another's functions."""

    def __init__(self):
        self.parser = Parser(Language(tree_sitter_powershell.language()))
        builtins = json.loads((DATA / "powershell-builtins.json").read_text())
        self.common = {name.lower() for name in builtins["common"]}
        self.natives = set(builtins["natives"])
        self.commands = {}
        for name, parameters in builtins["commands"].items():
            self.commands[name.lower()] = {one.lower() for one in parameters}
        for name, command in json.loads((DATA / "windows-commands.json").read_text())["commands"].items():
            known = self.commands[name.lower()] = set()
            for parameter, facts in command["parameters"].items():
                known.update(one.lower() for one in [parameter, *facts.get("aliases", [])])

    def problems(self, scripts):
        """A line for each problem in `scripts`, a dictionary of texts by file name."""
        trees = {name: self.parser.parse(text.encode()).root_node for name, text in scripts.items()}
        functions = {}
        for tree in trees.values():
            for node in walk(tree):
                if node.type == "function_statement":
                    functions.update([self.function(node)])
        for name, tree in trees.items():
            if not scripts[name].isascii():
                yield f"{name}: not ASCII, and Windows PowerShell reads a file without a mark in the local code page"
            for node in walk(tree):
                line = node.start_point[0] + 1
                for problem in self.node_problems(node, functions, tree):
                    yield f"{name}:{line}: {problem}"

    def node_problems(self, node, functions, tree):
        said = text(node)
        if node.type == "ERROR" or node.is_missing:
            yield f"syntax error at {said[:40]!r}"
        elif node.type == "pipeline_chain_tail":
            yield f"{said} is not in Windows PowerShell"
        elif node.type in ("class_statement", "enum_statement"):
            yield "classes and enumerations came with PowerShell 5"
        elif node.type == "invokation_expression" and re.search(r"\]\s*::\s*new\s*\(", said, re.I):
            yield "::new() came with PowerShell 5"
        elif node.type == "command":
            yield from self.command_problems(node, functions, tree)

    def function(self, node):
        name = next(text(child) for child in node.children if child.type == "function_name")
        parameters = set()
        for inner in walk(node):
            if inner.type == "script_parameter":
                parameters.update(text(child)[1:].lower() for child in inner.children if child.type == "variable")
        return name.lower(), parameters

    def command_problems(self, node, functions, tree):
        name = command_name(node)
        if name is None:
            return
        key = name.lower()
        if key.endswith(".exe"):
            if key not in self.natives:
                yield f"{name} is not a program that the playbook may start"
            return
        known = self.commands.get(key, functions.get(key))
        if known is None:
            yield f"unknown command {name}"
            return
        positions = 0
        for parameter in parameters_of(node, tree):
            if parameter is None:
                positions += 1
            elif parameter.lower() not in known | self.common:
                yield f"{name} has no parameter -{parameter}"
        if key == "join-path" and positions > 2:
            yield "Join-Path takes two parts in Windows PowerShell"


def walk(node):
    yield node
    for child in node.children:
        yield from walk(child)


def text(node):
    return node.text.decode()


def command_name(node):
    """The name of a command that is called by name; None for one that is computed."""
    for child in node.children:
        if child.type == "command_name":
            return text(child)
        if child.type == "command_name_expr":
            inner = child.children[0]
            if inner.type == "command_name":
                return text(inner)
            if inner.type == "string_literal":
                return text(inner).strip("'\"")
            return None
    return None


def parameters_of(node, tree):
    """The names of the parameters that a command is given, splatted ones too; None for one by position."""
    for elements in node.children:
        if elements.type != "command_elements":
            continue
        previous_is_name = False
        for element in elements.children:
            if element.type == "command_argument_sep":
                continue
            said = text(element)
            if element.type == "command_parameter":
                yield re.match(r"-(\w+)", said).group(1)
                previous_is_name = True
                continue
            if said.startswith("@") and re.fullmatch(r"@\w+", said):
                yield from splatted(said[1:], tree)
            elif element.type == "generic_token" and re.match(r"[3-6]>", said):
                pass
            elif element.type != "redirection" and not previous_is_name:
                yield None
            previous_is_name = False


def splatted(name, tree):
    for node in walk(tree):
        if node.type == "assignment_expression" and re.match(rf"\${name}\s*=\s*@\{{", text(node), re.I):
            for entry in walk(node):
                if entry.type == "key_expression":
                    yield text(entry)
