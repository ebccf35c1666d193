"""Imports go down the floors of the house, and never in a circle."""

import ast
import graphlib
import pathlib

ROOT = pathlib.Path(__file__).parents[1]
# From the top: a module imports from floors below its own, and from its own room. Rooms side by
# side do not know each other.
FLOORS = (
    ("experiments",),
    ("plots",),
    ("tables", "dynamics"),
    ("walkers", "storage"),
    ("landscape",),
    ("theory",),
    ("analysis", "problems"),
    ("_pytrees",),
    (
        "_arrays",
        "_display",
        "_json_values",
        "_least_inputs",
        "_memory",
        "_npy_headers",
        "_platforms",
        "_processes",
        "_types",
        "errors",
    ),
)
LEVELS = {room: -level for level, rooms in enumerate(FLOORS) for room in rooms}
LEAST = {
    "_arrays": {"_platforms", "_types", "errors"},
    "_json_values": {"errors"},
    "_memory": {"_platforms", "errors"},
    "_npy_headers": {"errors"},
    "_platforms": {"errors"},
    "_processes": {"errors"},
}  # on the ground floor


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {
    module_name(path): path
    for folder in ("sgd_diffusion", "experiments")
    for path in (ROOT / folder).rglob("*.py")
}


def imports(path, *, at_import=False):
    """The modules of this project that a file imports: at all, or when it is itself imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if at_import else ast.walk(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in names}
    return found & MODULES.keys()


def room(module):
    package, _, rest = module.partition(".")
    return "experiments" if package == "experiments" else rest.partition(".")[0] or package


def test_every_room_has_a_floor():
    assert {room(module) for module in MODULES} - {"sgd_diffusion"} <= LEVELS.keys()


def test_imports_go_down():
    """The front door, which has no floor, is above all and loads its rooms when they are used."""
    up = {
        (module, target)
        for module, path in MODULES.items()
        for own in [room(module)]
        for target in imports(path)
        if room(target) not in (own, "sgd_diffusion")
        and not (own in LEVELS and LEVELS[room(target)] < LEVELS[own])
        and room(target) not in LEAST.get(own, ())
    }
    assert not up


def test_no_module_imports_itself_on_a_detour():
    """Within a room too. A package's own page imports its modules, and they import each other, not
    the page.
    """
    graph = {module: imports(path, at_import=True) for module, path in MODULES.items()}
    packages = {module for module, path in MODULES.items() if path.name == "__init__.py"}
    graph = {
        module: {
            target
            for target in targets
            if not (target in packages and module.startswith(f"{target}."))
        }
        for module, targets in graph.items()
    }
    assert list(graphlib.TopologicalSorter(graph).static_order())
