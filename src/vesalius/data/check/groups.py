"""Pairs joined to groups: whatever resembles a member belongs to the group."""

from collections.abc import Iterable

from vesalius.data.check.similar import Pair


def join_pairs(pairs: Iterable[Pair]) -> list[list[Pair]]:
    """The pairs of each connected group, groups in the order of their first picture.

    >>> [len(group) for group in join_pairs([Pair(0, 4, 1.0), Pair(2, 3, 1.0), Pair(4, 7, 1.0)])]
    [2, 1]
    """
    leader: dict[int, int] = {}

    def find(member: int) -> int:
        while leader.setdefault(member, member) != member:
            leader[member] = leader[leader[member]]
            member = leader[member]
        return member

    ordered = sorted(pairs, key=lambda pair: (pair.first, pair.second))
    for pair in ordered:
        one, other = find(pair.first), find(pair.second)
        leader[max(one, other)] = min(one, other)
    groups: dict[int, list[Pair]] = {}
    for pair in ordered:
        groups.setdefault(find(pair.first), []).append(pair)
    return list(groups.values())
