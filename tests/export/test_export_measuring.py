from vesalius.export.run import Timing, measure


def test_models_are_timed_in_turns(build_tiny):
    first, second = measure([build_tiny("unet_d"), build_tiny("unet_d")], rounds=1)
    assert min(first.image, first.decoder, second.image, second.decoder) > 0


def test_an_answer_takes_an_image_and_a_decoding():
    assert Timing(3.0, 1.0, 2.0).answer == 5.0
