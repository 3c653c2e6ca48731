#!/usr/bin/env python3
"""Makes three things from data/api.tsv: the table of routes that the server answers and checks calls
with, the OpenAPI document (as a C string) and the list of routes in provost-api(5).

Usage: gen-api.py table|openapi|man TABLE [OUTPUT [VERSION]]"""
import csv
import json
import re
import sys

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
SCOPES = ("read", "operate", "wipe", "socket")
TYPES = {"text": {"type": "string"}, "number": {"type": "integer", "minimum": 0},
         "flag": {"type": "boolean"}, "object": {"type": "object"},
         "list": {"type": "array", "items": {"type": "string"}}, "name": {"type": "string"}}
ARGS_MAX, QUERY_MAX = 4, 16  # as in src/server/admin/route.h
# Codes that every route can answer with.
COMMON = {400: "The call is not as the table says.", 401: "There is no valid token.",
          403: "The token does not allow this.", 404: "There is no such thing.",
          405: "This path does not know that method.", 413: "The body is too large.",
          429: "Too many calls; Retry-After says when to come back.",
          503: "The store or memory is out of reach; nothing was changed."}
OTHER = {200: "Done.", 201: "Made.", 202: "Taken up; it goes on by itself.",
         409: "It is in the way of something that is there.", 422: "A value cannot be so.",
         500: "Something failed on the server; its log says what."}


def fail(row, what):
    sys.exit(f"data/api.tsv: {row['row']} {row['name']}: {what}")


def rows(path):
    with open(path, encoding="utf-8") as f:
        lines = (line for line in f if not line.startswith("#"))
        yield from csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)


def check_type(row, is_query):
    kind = row["type"].removesuffix("?")
    if kind not in TYPES and not re.fullmatch(r"[\w-]+(\|[\w-]+)+", kind):
        fail(row, f"the type {row['type']} is unknown")
    if is_query and (kind in ("object", "list") or row["type"].endswith("?")):
        fail(row, "a query parameter cannot be that")


def overlap(a, b):
    """Is there a path that fits both?"""
    a, b = a.split("/"), b.split("/")
    return len(a) == len(b) and all(x == y or "{" in x or "{" in y for x, y in zip(a, b))


def read(path):
    """@return what placeholders stand for, and the routes with their parameters"""
    places, routes = {}, []
    for row in rows(path):
        if None in row.values() or None in row:
            fail(row, "a column is missing or too many")
        if not re.fullmatch(r"[A-Z].*[.]", row["says"]):
            fail(row, "says must be a sentence")
        if row["row"] == "path":
            places[row["name"]] = row["says"]
        elif row["row"] == "route":
            method, _, row["path"] = row["name"].partition(" ")
            row.update(method=method, scopes=row["scope"].split(","), query=[], body=[],
                       args=re.findall(r"/\{(\w+)\}(?=/|$)", row["path"]),
                       codes=sorted({*map(int, row["answers"].split()), *COMMON}))
            check_route(row, places, routes)
            routes.append(row)
        elif row["row"] in ("query", "body") and routes:
            check_type(row, row["row"] == "query")
            if any(row["name"] == p["name"] for p in routes[-1][row["row"]]):
                fail(row, "is there twice")
            routes[-1][row["row"]].append(row)
        else:
            fail(row, "no such row can stand here")
    for route in routes:
        if len(route["query"]) > QUERY_MAX:
            fail(route, "has too many query parameters")
    return places, routes


def check_route(row, places, routes):
    if row["method"] not in METHODS or not row["path"].startswith("/v1/"):
        fail(row, "is no METHOD /v1/...")
    if row["path"].count("{") != len(row["args"]) or not set(row["args"]) <= set(places):
        fail(row, "a placeholder is a whole segment and has a row of its own")
    if len(row["args"]) > ARGS_MAX or len(set(row["args"])) != len(row["args"]):
        fail(row, "has too many placeholders, or one twice")
    if not set(row["scopes"]) <= set(SCOPES):
        fail(row, "the scope is unknown")
    for code in row["codes"]:
        if code not in COMMON and code not in OTHER:
            fail(row, f"{code} has no text")
    for other in routes:
        if other["method"] == row["method"] and overlap(other["path"], row["path"]):
            fail(row, f"there is a path that fits {other['name']} as well")


# ---- C ----

def text(value):
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def field(p):
    kind, null = p["type"].removesuffix("?"), p["type"].endswith("?")
    words = text(kind) if "|" in kind else "NULL"
    return "    { %s, ADMIN_%s, %s, %d, %d }," % (
        text(p["name"]), "WORD" if "|" in kind else kind.upper(), words, null,
        p["need"] == "required")


def table(path, _):
    _, routes = read(path)
    handlers = list(dict.fromkeys(r["handler"] for r in routes))
    fields, lines, at = [], [], 0
    for r in routes:
        scopes = " | ".join("ADMIN_" + s.upper() for s in r["scopes"])
        fields += [field(p) for p in r["query"] + r["body"]]
        query, body = len(r["query"]), len(r["body"])
        lines.append("    { %s, %s,\n      %s, %s,\n      admin_fields + %d, %d, admin_fields + %d, %d }," % (
            text(r["method"]), text(r["path"]), scopes, r["handler"], at, query, at + query, body))
        at += query + body
    return "\n".join(["/* Made from data/api.tsv; do not edit. */",
                      "#define ADMIN_HANDLERS(X) \\",
                      *[f"    X({h}) \\" for h in handlers], "",
                      "#ifdef ADMIN_TABLE",
                      "static const struct admin_field admin_fields[] = {", *fields, "};",
                      "const struct admin_route admin_routes[] = {", *lines, "};", "#endif", ""])


# ---- OpenAPI 3.0 ----

def schema(p):
    kind = p["type"].removesuffix("?")
    made = {"type": "string", "enum": kind.split("|")} if "|" in kind else dict(TYPES[kind])
    if p["type"].endswith("?"):
        made["nullable"] = True
    return made


def operation(r, places):
    made = {"summary": r["says"], "operationId": r["handler"].removeprefix("admin_"),
            "x-scopes": r["scopes"]}
    made["parameters"] = [
        {"name": a, "in": "path", "required": True, "description": places[a],
         "schema": {"type": "string"}} for a in r["args"]] + [
        {"name": q["name"], "in": "query", "required": q["need"] == "required",
         "description": q["says"], "schema": schema(q)} for q in r["query"]]
    if r["body"]:
        needed = [b["name"] for b in r["body"] if b["need"] == "required"]
        members = {b["name"]: dict(schema(b), description=b["says"]) for b in r["body"]}
        body = {"type": "object", "properties": members, "additionalProperties": False}
        if needed:
            body["required"] = needed
        made["requestBody"] = {"required": bool(needed),
                               "content": {"application/json": {"schema": body}}}
    made["responses"] = {str(code): answer(code) for code in r["codes"]}
    return made


def answer(code):
    if code in COMMON:
        return {"$ref": f"#/components/responses/{code}"}
    what = {} if code < 300 else {"$ref": "#/components/schemas/Error"}
    return {"description": OTHER[code], "content": {"application/json": {"schema": what}}}


def document(path, version):
    places, routes = read(path)
    paths = {}
    for r in routes:
        paths.setdefault(r["path"], {})[r["method"].lower()] = operation(r, places)
    error = {"type": "object", "required": ["error", "code"], "properties": {
        "error": {"type": "string", "description": "A sentence for people."},
        "code": {"type": "string", "description": "A word for programs."}}}
    refusal = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {"openapi": "3.0.3", "info": {"title": "Administration of provostd", "version": version},
            "security": [{"token": []}], "paths": paths, "components": {
                "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
                "schemas": {"Error": error},
                "responses": {str(c): {"description": d, "content": refusal}
                              for c, d in COMMON.items()}}}


def openapi(path, version):
    made = json.dumps(document(path, version), separators=(",", ":"), sort_keys=True)
    pieces = [made[i:i + 100] for i in range(0, len(made), 100)]
    return "\n".join(["/* Made from data/api.tsv; do not edit. */", *map(text, pieces), ""])


# ---- manual ----

ESCAPE = str.maketrans({"_": "\\_", "*": "\\*", "#": "\\#", "<": "\\<"})


def man(path, _):
    places, routes = read(path)
    out = []
    for r in routes:
        out += [f"*{r['name'].translate(ESCAPE)}*",
                f"\t{r['says'].translate(ESCAPE)} Scope: {', '.join(r['scopes'])}.", ""]
        for p in r["query"] + r["body"]:
            kind = p["type"].removesuffix("?").replace("|", " or ")
            notes = [kind] + ["or null"] * p["type"].endswith("?") + \
                    ["required"] * (p["need"] == "required")
            where = "?" if p["row"] == "query" else ""
            out += [f"\t_{where}{p['name'].translate(ESCAPE)}_ ({', '.join(notes)}): "
                    f"{p['says'].translate(ESCAPE)}", ""]
    out += ["In a path:", ""]
    for name, says in places.items():
        out += [f"*{{{name.translate(ESCAPE)}}}*", "\t" + says.translate(ESCAPE), ""]
    return "\n".join(out)


def main():
    kind, path, *target = sys.argv[1:]
    made = {"table": table, "openapi": openapi, "man": man}[kind](path, (target + ["", ""])[1])
    if target:
        with open(target[0], "w", encoding="utf-8") as f:
            f.write(made)
    else:
        sys.stdout.write(made)


main()
