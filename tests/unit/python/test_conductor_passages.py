"""Cutting: every line that is not blank is in exactly one passage, each language has its cuts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from symphony_conductor.passages import MAX_CHARS, MAX_LINES, cut, kind_of, split_lines

pytestmark = [pytest.mark.unit, pytest.mark.python]

SUFFIXES = [".py", ".md", ".rst", ".rs", ".go", ".ts", ".c", ".java", ".rb", ".sh", ".sql", ".toml", ".txt"]
TEXT = """\
def f(x):
    return 1
class A:
    def g(self):
@decorator
# note
```
# Title
====
fn main() {
}
impl A for B {
    fn x() {}
func Go() {
const f = () => {
end

int main(void)
{
[table]
\ttabbed
if True:
'''
\x0c
a\u2028b
label:"""
FRAGMENTS = TEXT.split("\n")


def titles(text: str, path: str) -> list[tuple[int, int, str]]:
    return [(passage.start, passage.end, passage.title) for passage in cut(text, path)]


@settings(max_examples=10, deadline=None)
@given(
    lines=st.lists(st.sampled_from(FRAGMENTS), max_size=90),
    suffix=st.sampled_from(SUFFIXES),
    newline=st.sampled_from(["\n", "\r\n"]),
)
def test_no_line_is_lost_or_repeated(lines: list[str], suffix: str, newline: str) -> None:
    text = newline.join(lines)
    whole = split_lines(text)
    covered: list[int] = []
    for passage in cut(text, "file" + suffix):
        assert passage.text == "\n".join(whole[passage.start - 1 : passage.end])
        assert passage.end - passage.start < MAX_LINES
        covered.extend(range(passage.start, passage.end + 1))
    assert covered == sorted(set(covered))
    assert not any(line.strip() for number, line in enumerate(whole, 1) if number not in covered)


def test_python_is_cut_at_functions_and_classes() -> None:
    source = """\
import os

LIMIT = 3


# why it exists
@cached
def first(a):
    def inner():
        return a
    return inner


class Tree:
    kind = "oak"

    def grow(self):
        return 1

    async def fall(self):
        return 2

    size = 4


if LIMIT:
    def second(): ...
"""
    assert titles(source, "a.py") == [
        (1, 3, ""),
        (6, 11, "first"),
        (14, 15, "Tree"),
        (17, 18, "Tree.grow"),
        (20, 21, "Tree.fall"),
        (23, 23, "Tree"),
        (26, 26, ""),
        (27, 27, "second"),
    ]


def test_python_that_does_not_parse_is_still_cut_at_definitions() -> None:
    source = "print 'old'\n\ndef one():\n    print 1\n\nclass Two:\n    def three(self):\n        print 3\n"
    assert titles(source, "a.py") == [(1, 1, ""), (3, 4, "one"), (6, 6, "Two"), (7, 8, "Two.three")]


def test_markdown_is_cut_at_headings_and_not_inside_fences() -> None:
    source = (
        "intro\n\n# Guide\ntext\n\n```sh\n# no heading\n```\n\n## Install\npip\n\nUse\n---\nrun\n\n# End\n"
    )
    assert titles(source, "a.md") == [
        (1, 1, ""),
        (3, 8, "Guide"),
        (10, 11, "Guide > Install"),
        (13, 15, "Guide > Use"),
        (17, 17, "End"),
    ]


def test_rst_headings_nest_by_first_appearance() -> None:
    source = "=====\nTitle\n=====\n\nabc\n\nPart\n----\n\nxyz\n\nSub\n~~~\n\nq\n\nOther\n-----\n"
    assert [title for _, _, title in titles(source, "a.rst")] == [
        "Title",
        "Title > Part",
        "Title > Part > Sub",
        "Title > Other",
    ]


SAMPLES = {
    "lib.rs": (
        """\
use a;

/// Doc
#[derive(Debug)]
pub struct P {
    x: u8,
}

impl<T: Ord> Show for P {
    fn show(&self) -> T
    where
        T: Copy,
    {
        1
    }

    /// B
    pub fn b() {}
}

macro_rules! m {
    () => {};
}
""",
        [
            (1, 1, ""),
            (3, 7, "P"),
            (9, 9, "P"),
            (10, 15, "P.show"),
            (17, 18, "P.b"),
            (19, 19, "P"),
            (21, 23, "m"),
        ],
    ),
    "main.go": (
        """\
package main

// Run runs.
func (s *Server) Run() error {
\treturn nil
}

type T struct {
\tA int
}
""",
        [(1, 1, ""), (3, 6, "Run"), (8, 10, "T")],
    ),
    "cart.ts": (
        """\
import x from 'y'

export class Cart {
  private n = 1

  async add(item: Item): Promise<void> {
    if (item) {
      this.n++
    }
  }
}

export const sum = (a: number) => {
  return a
}

function* walk() {
  yield 1
}
""",
        [
            (1, 1, ""),
            (3, 4, "Cart"),
            (6, 10, "Cart.add"),
            (11, 11, "Cart"),
            (13, 15, "sum"),
            (17, 19, "walk"),
        ],
    ),
    "add.c": (
        """\
#include <stdio.h>

static int add(int a, int b);

/* adds */
static int add(int a,
               int b)
{
    if (a) {
        printf("%d", b);
    }
out:
    return a + b;
}

int x = 1;
""",
        [(1, 3, ""), (5, 14, "add"), (16, 16, "")],
    ),
    "A.java": (
        """\
package p;

public class A extends B {
    private int n;

    @Override
    public int get() {
        call(n);
        return n;
    }
}
""",
        [(1, 1, ""), (3, 4, "A"), (6, 10, "A.get"), (11, 11, "A")],
    ),
    "m.rb": (
        """\
module M
  # doc
  def self.go(x)
    x
  rescue
    1
  end

  def ok?
    true
  end
end
""",
        [(1, 1, "M"), (2, 7, "M.go"), (9, 11, "M.ok?"), (12, 12, "M")],
    ),
    "a.sh": ("set -e\n\nbuild() {\n  make\n}\n\nbuild\n", [(1, 1, ""), (3, 5, "build"), (7, 7, "")]),
    "a.toml": (
        "a = 1\n\n[tool.x]\nb = 2\n\n[[list]]\nc = 3\n",
        [(1, 1, ""), (3, 4, "tool.x"), (6, 7, "list")],
    ),
}


@pytest.mark.parametrize("path", SAMPLES)
def test_other_languages_are_cut_at_definitions(path: str) -> None:
    source, expected = SAMPLES[path]
    assert titles(source, path) == expected


def test_a_long_function_is_cut_at_a_pause() -> None:
    body = "".join(f"    step_{n} = {n}\n" + ("\n" if n == 40 else "") for n in range(90))
    found = titles("def long():\n" + body, "a.py")
    assert found == [(1, 42, "long"), (44, 92, "long")]


def test_plain_text_is_cut_at_paragraphs() -> None:
    text = ("word\n" * 25 + "\n") * 4
    assert [(start, end) for start, end, _ in titles(text, "LICENSE")] == [(1, 51), (53, 103)]


def test_an_endless_line_becomes_several_passages_of_that_line() -> None:
    line = "x" * (2 * MAX_CHARS + 5)
    found = cut("a\n" + line + "\nb\n", "a.min.js")
    assert "".join(passage.text for passage in found if passage.start == 2) == line
    assert {(passage.start, passage.end) for passage in found} == {(1, 1), (2, 2), (3, 3)}


def test_endless_lines_of_code_take_no_time() -> None:
    line = "a(b){c=d=>e;" * 20_000
    assert cut(line, "a.js")
    assert cut(line, "a.c")
    assert cut("create " * 30_000, "a.sql")


@pytest.mark.parametrize("text", ["", "\n", "  \n\t\n"])
def test_nothing_to_say_gives_no_passage(text: str) -> None:
    assert cut(text, "a.py") == []


def test_deeply_nested_source_is_cut_all_the_same() -> None:
    assert cut("(" * 5_000 + ")" * 5_000, "a.py")


def test_kinds() -> None:
    assert [kind_of(path) for path in ("A.PY", "x/y.tsx", "Makefile", "a.cpp")] == [
        "python",
        "script",
        "text",
        "braces",
    ]
