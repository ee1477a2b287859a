#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Where the module and the kernel code that the patches change allocate memory.

    sites.py SOURCE TREE MODULE

SOURCE is the unpatched kernel source, TREE the patched one that was built, MODULE the
module's object. A site is one call, in the object code, of a function that allocates; it
is printed as

    MODULE FUNCTION RETURN_OFFSET ALLOCATOR

where the module is "vmlinux" for what is built in, and FUNCTION+RETURN_OFFSET is what the
kernel prints for it in a trace. What the compiler has inlined is in the function where it
ended up.

The sites are those of the module, of the functions that the patches change or add, and of
all that these call, directly or not, in the files that the patches touch. A function in a
header is looked at where it was inlined, if the patches touch that.

Runs where the kernel was built: a guest would take minutes for it.
"""

import glob
import os
import re
import subprocess
import sys

# An allocator, by its name: all that the kernel has are called so. What trackers of references
# allocate is for themselves, and they do without.
ALLOCATOR = re.compile(r"(?<!tracker_)alloc(?!\w*_free)|(mem|str)n?dup|skb_(clone|copy(?!_bits)|expand)|"
                       r"_pull_tail|msg_new|cache_init|metrics_init|create_workqueue")
# Suffixes that the compiler adds to the names of functions that it has split or specialized.
SUFFIX = re.compile(r"\.(isra|constprop|part|cold|llvm|lto_priv)\b.*$")


def changed_lines(old, new):
    """The numbers of the lines of `new` that are not in `old`, or stand where a line is gone."""
    if not os.path.exists(old):
        old = os.devnull
    diff = subprocess.run(["diff", "-U0", old, new], stdout=subprocess.PIPE, text=True,
                          check=False).stdout
    lines = set()
    for start, count in re.findall(r"^@@ -\S+ \+(\d+)(?:,(\d+))? @@", diff, flags=re.M):
        lines.update(range(int(start), int(start) + max(int(count or 1), 1)))
    return lines


def functions_of(path):
    """(name, first line, last line, text) of each function of a C file in kernel style."""
    with open(path, encoding="utf-8") as file:
        lines = file.read().split("\n")
    found, head, start = [], 0, None
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line == "}" and start:
            text = "\n".join(lines[head:number])
            name = re.search(r"(\w+)\s*\((?!\()", text)
            if name:
                found.append((name[1], head + 1, number, text))
            head, start = number, None
        elif not start and (not line.strip() or line.startswith(("#", " */", "/*")) or
                            line.endswith((";", "*/"))):
            head = number
    return found


def patched_functions(source, tree):
    """For each C file that the patches touch, the functions that they change or add, and who
    calls each function there is in it."""
    with open(f"{tree}.files", encoding="ascii") as file:
        paths = [path for path in file.read().split("\n") if path.endswith(".c")]
    for path in paths:
        lines = changed_lines(f"{source}/{path}", f"{tree}/{path}")
        functions = functions_of(f"{tree}/{path}")
        changed = {name for name, first, last, _ in functions
                   if any(first <= line <= last for line in lines)}
        callers = {name: {by for by, _, _, text in functions
                          if by != name and re.search(rf"\b{name}\(", text)}
                   for name, _, _, _ in functions}
        yield path, changed, callers


def symbols(changed, callers, defined):
    """The functions of the object that hold the changed ones, which may have been inlined."""
    todo, seen, found = set(changed), set(), set()
    while todo:
        name = todo.pop()
        seen.add(name)
        mine = {symbol for symbol in defined if SUFFIX.sub("", symbol) == name}
        found |= mine
        if not mine:
            todo |= callers.get(name, set()) - seen
    return found


def calls(path):
    """{function: [(offset behind the call, called function, is it a jump)]} of an object."""
    text = subprocess.run(["objdump", "-drw", "--no-show-raw-insn", path], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    found, function, start, last, no_flags = {}, None, 0, None, False
    for line in text.split("\n"):
        head = re.match(r"([0-9a-f]+) <(.+)>:$", line)
        if head:
            start, function, last, no_flags = int(head[1], 16), head[2], None, False
            found.setdefault(function, [])
            continue
        code = re.match(r"\s+([0-9a-f]+):\t(.*)$", line)
        if not code:
            continue
        if last:
            last[0] = int(code[1], 16) - start
            last = None
        if re.search(r",%[er]cx\b", code[2]):
            # The fourth argument. Rust frees by krealloc() or kvrealloc(), to a size of 0 and with
            # no flags.
            no_flags = code[2].startswith("xor    %ecx,%ecx")
        call = re.match(r"(call|jmp)\s+[0-9a-f]+ <([^>+]+)(\+0x[0-9a-f]+)?>", code[2])
        if not call:
            continue
        target = re.search(r"R_X86_64_(?:PLT32|PC32)\s+([\w.$]+)-0x4", code[2])
        name = target[1] if target else "" if call[3] else call[2]
        if name and name != function and not ("realloc" in name and no_flags):
            last = [0, name, call[1] == "jmp"]
            found[function].append(last)
        no_flags = no_flags and call[1] == "jmp"
    return found


def module_of(tree, path):
    """The module that an object of the kernel is in."""
    for name in glob.glob(f"{tree}/{os.path.dirname(path)}/*.mod"):
        with open(name, encoding="ascii") as file:
            if path in file.read().split():
                return os.path.basename(name)[:-4]
    return "vmlinux"


def patched_code(source, tree):
    """{(module, function): calls} of what the patches change, and of what that calls."""
    objects, found, todo = {}, {}, set()
    for path, changed, callers in patched_functions(source, tree):
        path = path[:-1] + "o"
        objects[path] = calls(f"{tree}/{path}")
        todo |= {(path, name) for name in symbols(changed, callers, objects[path])}
    while todo:
        path, function = todo.pop()
        found[module_of(tree, path), function] = objects[path][function]
        for _, name, _ in objects[path][function]:
            places = [path] if name in objects[path] else [p for p in objects if name in objects[p]]
            todo |= {(place, name) for place in places
                     if (module_of(tree, place), name) not in found}
    return found


def main():
    source, tree, module = sys.argv[1:]
    code = patched_code(source, tree)
    name = os.path.basename(module)[:-3]
    code.update({(name, function): made for function, made in calls(module).items()})
    # A function that jumps to an allocator is not in the trace: its caller is where the call is.
    allocators = {called for made in code.values() for _, called, _ in made
                  if ALLOCATOR.search(called) and not called.startswith("_R")}
    allocators |= {function for (_, function), made in code.items()
                   if any(jump and called in allocators for _, called, jump in made)}
    for (module, function), made in sorted(code.items()):
        for offset, called, jump in made:
            if called in allocators and not jump:
                print(module, function, f"{offset:#x}", called)


def read(path):
    """Return what was printed, as {(module, function, offset): allocator}."""
    with open(path, encoding="ascii") as file:
        fields = [line.split() for line in file]
    return {(module, function, int(offset, 16)): called
            for module, function, offset, called in fields}


if __name__ == "__main__":
    main()
