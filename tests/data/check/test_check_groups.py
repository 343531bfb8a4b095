from vesalius.data.check.similar import Pair, join_pairs


def test_a_chain_of_pairs_is_one_group():
    chain = [Pair(5, 6, 0.9), Pair(0, 9, 1.0), Pair(4, 5, 0.9), Pair(6, 8, 0.9)]
    groups = join_pairs(chain)
    assert [[(pair.first, pair.second) for pair in group] for group in groups] == [[(0, 9)], [(4, 5), (5, 6), (6, 8)]]


def test_no_pairs_are_no_groups():
    assert join_pairs([]) == []
