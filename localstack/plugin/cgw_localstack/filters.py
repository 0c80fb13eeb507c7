"""Chooses objects by the identifiers and filters of a Describe request."""

import functools
import re

from .errors import refusal


@functools.lru_cache(maxsize=4096)
def _pattern(text: str) -> re.Pattern:
    """API, "Filter": `*` and `?` are wildcards, a backslash takes that meaning away; letters' case counts."""
    out, escaped = [], False
    for letter in text:
        if escaped or letter not in "*?\\":
            out.append(re.escape(letter))
            escaped = False
        elif letter == "\\":
            escaped = True
        else:
            out.append(".*" if letter == "*" else ".")
    return re.compile("".join(out), re.DOTALL)


def _values(view: dict, name: str, fields: dict) -> list:
    if name.startswith("tag:"):
        return [t["Value"] for t in view.get("Tags") or [] if t["Key"] == name[4:]]
    if name == "tag-key":
        return [t["Key"] for t in view.get("Tags") or []]
    field = fields.get(name)
    if field is None:
        raise refusal("InvalidParameterValue", f"The filter '{name}' is invalid")
    found = field(view) if callable(field) else view.get(field)
    found = found if isinstance(found, list) else [found]
    return [str(v).lower() if isinstance(v, bool) else str(v) for v in found if v is not None]


def select(views: list, filters: list, fields: dict) -> list:
    """Those views (as Describe shows them) that pass all filters; `fields` says where each filter looks."""
    for one in filters or []:
        name, patterns = one["Name"], [_pattern(v) for v in one.get("Values") or []]
        views = [v for v in views if any(p.fullmatch(x) for x in _values(v, name, fields) for p in patterns)]
    return views
