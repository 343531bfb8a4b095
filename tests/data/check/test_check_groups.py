from vesalius.data.check.similar import SimilarPair, join_pairs


def test_a_chain_of_pairs_is_one_group():
    chain = [SimilarPair(5, 6, 0.9), SimilarPair(0, 9, 1.0), SimilarPair(4, 5, 0.9), SimilarPair(6, 8, 0.9)]
    groups = join_pairs(chain)
    assert [[(pair.first, pair.second) for pair in group] for group in groups] == [[(0, 9)], [(4, 5), (5, 6), (6, 8)]]


def test_no_pairs_are_no_groups():
    assert join_pairs([]) == []
