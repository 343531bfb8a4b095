import pytest
import torch
from transformers import BertConfig as PublishedConfig
from transformers import BertModel

from vesalius.models.foreign.names import BERT, BERT_CHANGES, BERT_UNUSED, Renaming
from vesalius.models.towers import BertConfig, BertEncoder, mean_pool

OURS = Renaming(BERT, BERT_UNUSED, BERT_CHANGES)
SIZES = BertConfig(vocabulary=50, width=24, layers=3, heads=4, hidden=40, positions=16)


@pytest.fixture
def published() -> BertModel:
    torch.manual_seed(0)
    config = PublishedConfig(
        vocab_size=50, hidden_size=24, num_hidden_layers=3, num_attention_heads=4, intermediate_size=40,
        max_position_embeddings=16,
    )  # fmt: skip
    model = BertModel(config).eval()
    for parameter in model.parameters():  # the published initialisation has biases of 0, which would hide a mix-up
        torch.nn.init.normal_(parameter, std=0.3)
    return model


@pytest.fixture
def ours(published: BertModel) -> BertEncoder:
    model = BertEncoder(SIZES).eval()
    model.load_state_dict(OURS.apply(published.state_dict()))
    return model


def random_batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1, 50, (3, 9), generator=generator)
    mask = torch.tensor([9, 5, 2])[:, None] > torch.arange(9)
    return ids * mask, mask.long()


@torch.no_grad()
def test_token_vectors_equal_those_of_transformers(published, ours):
    ids, mask = random_batch()
    expected = published(input_ids=ids, attention_mask=mask).last_hidden_state
    # Float32 over three layers; values are of the order of 1.
    torch.testing.assert_close(ours(ids, mask)[mask.bool()], expected[mask.bool()], rtol=0, atol=1e-5)


@torch.no_grad()
def test_padding_changes_nothing(ours):
    ids, mask = random_batch()
    short = ours(ids[1:2, :5], mask[1:2, :5])
    torch.testing.assert_close(ours(ids, mask)[1:2, :5], short, rtol=0, atol=1e-5)


@torch.no_grad()
def test_what_stands_behind_the_mask_does_not_matter(ours):
    ids, mask = random_batch()
    other = torch.where(mask.bool(), ids, 7)
    assert torch.equal(ours(ids, mask)[mask.bool()], ours(other, mask)[mask.bool()])


def test_every_published_weight_but_the_pooler_has_a_place(published):
    renamed = OURS.apply(published.state_dict())
    assert renamed.keys() == BertEncoder(SIZES).state_dict().keys()
    used = sum(value.numel() for value in renamed.values())
    pooler = sum(parameter.numel() for parameter in published.pooler.parameters())
    second_segment = 24
    assert used + pooler + second_segment == sum(parameter.numel() for parameter in published.parameters())


def test_mean_pool_averages_the_real_tokens_and_scales_to_length_1():
    tokens = torch.tensor([[[3.0, 0.0], [3.0, 8.0], [100.0, 100.0]], [[0.0, -2.0], [9.0, 9.0], [9.0, 9.0]]])
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    torch.testing.assert_close(mean_pool(tokens, mask), torch.tensor([[0.6, 0.8], [0.0, -1.0]]))
