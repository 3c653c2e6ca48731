#!/usr/bin/env python3
"""docs/requirements.md and docs/threat-model.md name code and tests that are there.

Usage: check_requirements.py TREE. In requirements.md each row is | id | clause | rule | code | held by |;
in threat-model.md each row of a table whose last column is "held by" names tests. Code stands there as
`lib/eas/key.c:pv_key_is` (below src/) or `data/statuses.tsv`, a test as `test_gate:bodies` (tests/unit),
`test_http.Slow.test_silence` (tests/system or tests/real), `fuzz_wbxml` or `check_symbols.py`. Every
citation of a Microsoft clause in the sources (//= MS-ASPROV 2.2.2.42) has a row with that clause and that file.
"""

import ast
import pathlib
import re
import sys

TICKED = re.compile(r"`([^`]+)`")
CITED = re.compile(r"//= (MS-\w+) ((?:[\d.]*\d, )*[\d.]*\d)")
UNIT, SYSTEM = re.compile(r"(test_\w+):(\w+)"), re.compile(r"(test_\w+)\.(\w+)\.(test_\w+)")
PROGRAM = re.compile(r"(fuzz_\w+|check_\w+\.py|wbxml_peer\.py)")


class Tree:
    def __init__(self, root):
        self.root, self.faults, self.classes, self.texts = root, [], {}, {}

    def text(self, path):
        """None if there is no such file."""
        if path not in self.texts:
            whole = self.root / path
            self.texts[path] = whole.read_text(encoding="utf-8") if whole.is_file() else None
        return self.texts[path]

    def methods(self, path):
        """(class, name) of what a system test defines, by def or by another name."""
        if path not in self.classes:
            found = set()
            for node in ast.parse(self.text(path) or "").body:
                for part in node.body if isinstance(node, ast.ClassDef) else ():
                    if isinstance(part, ast.FunctionDef):
                        found.add((node.name, part.name))
                    elif isinstance(part, ast.Assign):
                        found.update((node.name, t.id) for t in part.targets
                                     if isinstance(t, ast.Name))
            self.classes[path] = found
        return self.classes[path]

    def has_test(self, name):
        if found := UNIT.fullmatch(name):
            text = self.text(f"tests/unit/{found[1]}.c") or ""
            return bool(re.search(rf"^static void {found[2]}\(void \*\*", text, re.M))
        if found := SYSTEM.fullmatch(name):
            return any((found[2], found[3]) in self.methods(f"tests/{kind}/{found[1]}.py")
                       for kind in ("system", "real"))
        if found := PROGRAM.fullmatch(name):
            return any(self.text(path) is not None for path in
                       (f"tests/fuzz/{name}.c", f"tests/unit/{name}"))
        return False

    def has_code(self, name):
        path, _, what = name.partition(":")
        text = self.text(path) or self.text(f"src/{path}")
        if text is None:
            return False
        defined = rf"^(?![\s/*}}]).*\b{re.escape(what)}(\(|\[| =|;|$)"
        return not what or bool(re.search(defined, text, re.M))

    def citations(self):
        """{(clause, path): line} of the sources."""
        found = {}
        for top in ("src", "include", "examples"):
            for path in sorted((self.root / top).rglob("*.[ch]")):
                here = str(path.relative_to(self.root))
                for number, line in enumerate(self.text(here).splitlines(), 1):
                    for document, clauses in CITED.findall(line):
                        for clause in clauses.split(", "):
                            found.setdefault((f"{document} {clause}", here), number)
        return found

    def fault(self, where, what):
        self.faults.append(f"{where}: {what}")


def rows(tree, path):
    """(line number, cells) of the tables, without their heads."""
    text = tree.text(path)
    if text is None:
        tree.fault(path, "is missing")
        return
    before = ""
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("|") and before.startswith("|") and not line.startswith("|--"):
            yield number, [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        before = line


def check_names(tree, where, cell, what, has):
    names = TICKED.findall(cell)
    if not names:
        tree.fault(where, f"no {what}")
    for name in names:
        if not has(name):
            tree.fault(where, f"there is no {what} {name}")


def check_requirements(tree, path):
    ids, covered = set(), set()
    for number, cells in rows(tree, path):
        where = f"{path}:{number}"
        if len(cells) != 5 or not all(cells):
            tree.fault(where, "not five cells")
            continue
        name, clauses, _, code, tests = cells
        if name in ids:
            tree.fault(where, f"{name} is there already")
        ids.add(name)
        check_names(tree, where, code, "code", tree.has_code)
        check_names(tree, where, tests, "test", tree.has_test)
        document = ""
        for word in clauses.split(", "):
            document, clause = word.split(" ", 1) if " " in word else (document, word)
            for file in TICKED.findall(code):
                covered.add((f"{document} {clause}", "src/" + file.partition(":")[0]))
    for (clause, file), number in tree.citations().items():
        if (clause, file) not in covered:
            tree.fault(f"{file}:{number}", f"cites {clause}; no row of {path} has both")
    if len(ids) < 50:
        tree.fault(path, f"has {len(ids)} rows only")


def check_threats(tree, path):
    held = 0
    for number, cells in rows(tree, path):
        if any(SYSTEM.search(cell) or UNIT.search(cell) for cell in cells[:-1]):
            tree.fault(f"{path}:{number}", "a test stands in another column than the last")
        if len(cells) == 3:
            check_names(tree, f"{path}:{number}", cells[-1], "test", tree.has_test)
            held += 1
    if held < 10:
        tree.fault(path, f"has {held} promises only")


def main():
    tree = Tree(pathlib.Path(sys.argv[1]))
    check_requirements(tree, "docs/requirements.md")
    check_threats(tree, "docs/threat-model.md")
    print("\n".join(tree.faults))
    return bool(tree.faults)


sys.exit(main())
