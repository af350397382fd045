#!/usr/bin/env python3
"""What calls look like without what they say: the shape of a JSON value, the pattern of a call, and
how many of them become one, and what has changed. Pure functions; `record.py` feeds them.

    shapes.py OLD NEW     says what NEW has that OLD has not, and ends with 1 then; also what it lacks

A shape is written as JSON that a person can read:

    "str"                    a scalar: str, time, uuid, hex (32 digits), int, float, bool, null
    ["str"]                  an array, all items' shapes as one; [] if it was always empty
    {"id": "uuid", "a?": …}  an object; with "?" what is not always there
    {"|": […]}               one of several

>>> print(json.dumps(shape({"id": "5fa6680d-2234-4bf7-99a7-b08d72eaa4e6", "n": [1, None]})))
{"id": "uuid", "n": [{"|": ["int", "null"]}]}
>>> print(json.dumps(merge(shape({"a": 1}), shape({"b": [""]}))))
{"a?": "int", "b?": ["str"]}
>>> print(json.dumps(merge(merge(shape([]), shape([1])), shape(None))))
{"|": [["int"], "null"]}
"""

import json
import re
import sys
from pathlib import Path

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
HEX = re.compile(r"[0-9a-f]{32}$")
TIME = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d")
SCALARS = {type(None): "null", bool: "bool", int: "int", float: "float"}


def shape(value):
    if isinstance(value, dict):
        whole = {}
        for key, inner in value.items():
            name = key_of(key)
            whole[name] = merge(whole[name], shape(inner)) if name in whole else shape(inner)
        return whole
    if isinstance(value, list):
        items = []
        for item in value:
            items = [merge(items[0], shape(item))] if items else [shape(item)]
        return items
    if isinstance(value, str):
        return "uuid" if UUID.match(value) else "hex" if HEX.match(value) else "time" if TIME.match(value) else "str"
    return SCALARS[type(value)]


def key_of(key):
    """A key that is data (an id, the name of a volume) stands for all such keys."""
    return "{id}" if UUID.match(key) or HEX.match(key) else "{volume}" if ":" in key else key


def kind(one):
    return "object" if isinstance(one, dict) else "array" if isinstance(one, list) else one


def alternatives(one):
    return one["|"] if isinstance(one, dict) and list(one) == ["|"] else [one]


def merge(one, other):
    """The shape that both are. Associative, commutative, and the same again when repeated.

    >>> a, b, c = shape({"x": 1}), shape({"x": "t", "y": []}), shape(None)
    >>> merge(a, merge(b, c)) == merge(merge(c, a), b) == merge(merge(a, b), merge(b, c))
    True
    """
    found = {}
    for each in alternatives(one) + alternatives(other):
        name = kind(each)
        if name in found and name in COMPOUND:
            each = COMPOUND[name](found[name], each)
        found[name] = each
    if len(found) == 1:
        return next(iter(found.values()))
    return {"|": [found[name] for name in sorted(found)]}


def merge_arrays(one, other):
    return [merge(one[0], other[0])] if one and other else one or other


def merge_objects(one, other):
    whole = {}
    for name in sorted({key.removesuffix("?") for key in one | other}):
        sides = [side[key] for side in (one, other) for key in (name, f"{name}?") if key in side]
        always = name in one and name in other
        whole[name if always else f"{name}?"] = merge(*sides) if len(sides) == 2 else sides[0]
    return whole


COMPOUND = {"object": merge_objects, "array": merge_arrays}


# ---- patterns -----------------------------------------------------------------------------------

FOLDER_WORDS = {"_", "invitations", "purge", "restore-from-trash-bin", "delete-from-trash-bin"}
NAMED = {"session", "folders", "services", "scaling-groups"}


def pattern(path):
    """A path with ids and names replaced.

    >>> pattern("/session/my-name/rename?name=x"), pattern("/folders/_/hosts"), pattern("/folders/purge")
    ('/session/{id}/rename', '/folders/_/hosts', '/folders/purge')
    >>> pattern("/func/folders/abc/files"), pattern("/template/session/" + "0" * 32), pattern("/events/session")
    ('/func/folders/{id}/files', '/template/session/{id}', '/events/session')
    """
    words = []
    for word in path.split("?")[0].split("/"):
        before = words[-1] if words else ""
        data = UUID.match(word) or HEX.match(word) or (before in NAMED and word and word not in FOLDER_WORDS)
        words.append("{id}" if data else word)
    return "/".join(words)


def graphql_fields(query):
    """What a query asks for: its root fields, in the order of the alphabet.

    >>> graphql_fields('query($n: String = "{") { groups_by_name(name: $n) { id } b: user { uuid } }')
    ['groups_by_name', 'user']
    >>> graphql_fields("mutation { create_group(name: {a: 1}) @x { ok } }")
    ['create_group']
    """
    text = re.sub(r'"(\\.|[^"\\])*"|#[^\n]*|@\w+', "", query)
    fields, depth, brackets = [], 0, 0
    for token in re.findall(r"[(){}:]|\$?\w+", text):
        if token == "(":
            brackets += 1
        elif token == ")":
            brackets -= 1
        elif brackets:
            continue
        elif token == "{":
            depth += 1
        elif token == "}":
            depth -= 1
        elif depth == 1 and token == ":":
            fields.pop()
        elif depth == 1:
            fields.append(token)
    return sorted(set(fields))


def outcome(status, body):
    """The status of an answer, and for a refusal the word that tells it from others of that status.

    >>> outcome(404, {"error_code": "session_read_not-found"}), outcome(204, None)
    ('404 session_read_not-found', '204')
    >>> outcome(200, {"data": {"purge_group": {"ok": False}}}), outcome(400, {"type": "https://x/probs/quota"})
    ('200 not ok', '400 quota')
    """
    if not isinstance(body, dict):
        return str(status)
    for error in body.get("errors") or []:
        return f"{status} {(error.get('extensions') or {}).get('code', 'error')}"
    results = (body.get("data") or {}).values() if isinstance(body.get("data"), dict) else ()
    if any(isinstance(result, dict) and result.get("ok") is False for result in results):
        return f"{status} not ok"
    word = "" if status < 400 else body.get("error_code") or str(body.get("type", "")).rsplit("/", 1)[-1]
    return f"{status} {word}".rstrip()


# ---- recordings ---------------------------------------------------------------------------------


def changes(old, new):
    """What one recording has that the other has not, as two lists of sentences: what is new in the
    second, and what it lacks. That something always was there and now is not always is new.

    >>> one = {"manager": {"GET /": {"200": {"body": {"a": "int"}}, "500": {}}}}
    >>> other = {"manager": {"GET /": {"200": {"body": {"a": "null", "b": "int"}}, "404": {}}}}
    >>> for side in changes(one, other): print(side)
    ['manager GET / 200 body.a: null, was int', 'manager GET / 200 body.b: int', 'manager GET / 404: {}']
    ['manager GET / 500']
    >>> changes(one, one)
    ([], [])
    """
    new_ones, lacking = [], []

    def compare(old, new, at, depth):
        for key in sorted(old | new):
            here = f"{at}{key}"
            if key not in new:
                lacking.append(here)
            elif key not in old:
                new_ones.append(f"{here}: {json.dumps(new[key])}")
            elif depth:
                compare(old[key], new[key], f"{here} ", depth - 1)
            elif key == "events":
                compare(old[key], new[key], f"{here} ", 0)
            else:
                new_ones.extend(widened(old[key], new[key], here))

    compare(old, new, "", 3)
    return new_ones, lacking


def widened(old, new, at):
    """Where a shape allows what another did not.

    >>> list(widened(["int"], {"|": [["int"], "null"]}, "a"))
    ['a: null, was ["int"]']
    >>> list(widened({"a": [], "b": "str"}, {"a": ["str"], "b?": "str"}, "x"))
    ['x.a[]: "str"', 'x.b: not always there']
    """
    known = {kind(each): each for each in alternatives(old)}
    for each in alternatives(new):
        before = known.get(kind(each))
        if before is None:
            yield f"{at}: {json.dumps(each).strip(chr(34))}, was {json.dumps(old).strip(chr(34))}"
        elif isinstance(each, list) and each:
            yield from widened(before[0], each[0], f"{at}[]") if before else [f"{at}[]: {json.dumps(each[0])}"]
        elif isinstance(each, dict):
            yield from widened_object(before, each, at)


def widened_object(old, new, at):
    for key, inner in new.items():
        name = key.removesuffix("?")
        before = old.get(name, old.get(f"{name}?"))
        if before is None:
            yield f"{at}.{name}: {json.dumps(inner).strip(chr(34))}"
        else:
            yield from widened(before, inner, f"{at}.{name}")
    for key in old:
        if not key.endswith("?") and key not in new:
            yield f"{at}.{key}: not always there"


def main():
    new_ones, lacking = changes(*(json.loads(Path(file).read_text()) for file in sys.argv[1:3]))
    for line in new_ones:
        print(f"new: {line}")
    for line in lacking:
        print(f"not seen: {line}")
    sys.exit(1 if new_ones else 0)


if __name__ == "__main__":
    main()
