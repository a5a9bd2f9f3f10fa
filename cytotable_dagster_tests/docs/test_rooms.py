from cytotable_dagster_tests.docs.rooms import HOUSE, PICTURE, drawn
from cytotable_dagster_tests.test_imports import CORE, GROUND, ROOMS, _imports, _inside, _name


def test_the_picture_of_the_rooms_is_that_of_the_imports():
    inside = [group for title, _, group in reversed(HOUSE) if title not in ("doors", "outside core")]
    floors = [floor for group in inside for floor in group[::-1]]
    assert sorted(floors[0]) == sorted(GROUND)
    assert sorted(room for floor in floors[1:] for room in floor) == sorted(ROOMS)
    height = {room: number for number, floor in enumerate(floors) for room in floor}
    edges = {
        (_inside(_name(path))[0], _inside(module)[0])
        for path in CORE
        for module, _ in _imports(path, typing=True)
        if _inside(_name(path)) and _inside(module)
    }
    steps = {(above, below) for above, below in edges if above != below and {above, below} <= ROOMS.keys()}
    assert [f"{above} imports {below}" for above, below in sorted(steps) if height[above] <= height[below]] == []
    assert PICTURE.read_text() == drawn(), "python -m cytotable_dagster_tests.docs.rooms"
