"""Drawings of chapter 4: arrows that begin and end where they should, flows by hand."""

import numpy as np

from deformconv.course import figures

IMAGE = np.arange(20.0).reshape(4, 5) / 20


def test_a_bump_zooms_at_its_centre_and_fades_out():
    flow = figures.bump_flow((31, 41), zoom=2.0, reach=4.0)
    assert flow.shape == (31, 41, 2)
    np.testing.assert_array_equal(flow[15, 20], [0, 0])
    # one pixel down and two to the right of the centre: as far again, less what has faded
    np.testing.assert_allclose(flow[16, 22], np.exp(-5 / 32) * np.array([1, 2]))
    np.testing.assert_allclose(flow[0, 0], 0, atol=1e-6)


def test_a_swirl_turns_y_to_x():
    flow = figures.bump_flow((5, 7), swirl=90, reach=1e6, centre=(2, 2))
    np.testing.assert_allclose(flow[3, 2], [-1, 1], atol=1e-6)  # (1, 0) from the centre looks at (0, 1) from it


def test_without_zoom_and_swirl_nothing_moves():
    assert not figures.bump_flow((4, 5)).any()


def test_an_arrow_leads_from_a_pixel_to_where_it_looks():
    flow = np.zeros((4, 5, 2))
    flow[2, 4] = 0.5, -2
    left, _ = figures.flow_arrows(IMAGE, flow, IMAGE, step=2).axes
    (arrows,) = [each for each in left.collections if hasattr(each, "U")]
    assert (arrows.X.tolist(), arrows.Y.tolist()) == ([4], [2])
    assert (arrows.U.tolist(), arrows.V.tolist()) == ([-2], [0.5])


def test_the_explorer_draws_the_image_that_its_flow_makes():
    _, right = figures.flow_explorer(IMAGE, zoom=1.0, swirl=0.0).axes
    np.testing.assert_allclose(right.images[0].get_array(), IMAGE)
    _, right = figures.flow_explorer(IMAGE, zoom=1e6).axes
    assert not np.asarray(right.images[0].get_array()).any()  # every pixel looks far outside


def test_a_rows_arrows_end_at_pixel_plus_offset():
    (ax,) = figures.row_flow([1.0, 2, 3], [1, -0.5, 2], [2, 1.5, 0]).axes
    ends = [text.xy[0] for text in ax.texts if hasattr(text, "xy")]
    assert ends == [1, 0.5, 4]
    assert {"+1", "-0.5", "+2"} <= {text.get_text() for text in ax.texts}


def test_where_offsets_go_draws_each_at_its_end_with_the_look_of_its_slot():
    places = np.zeros((2, 2, 3, 3), int)
    places[0] = 1, 2, 0  # all y offsets arrive at (1, 2), as y
    places[1] = 0, 1, 1
    axes = figures.where_offsets_go(places, step=1).axes
    for ax, end, marker in zip(axes, ((2, 1), (1, 0)), ("o", "s"), strict=True):
        arrived = [line for line in ax.lines if line.get_marker() == marker and line.get_color() != "white"]
        ends = {
            tuple(line.get_xydata()[0]) for line in arrived if len(line.get_xydata()) and line.get_markersize() == 6
        }
        assert ends == {end}


def test_an_offset_kernels_cells_say_their_weights():
    kernel = np.arange(18).reshape(3, 3, 2) / 10
    y, x = figures.offset_kernel(kernel).axes
    assert [text.get_text() for text in y.texts][:3] == ["+0.00", "+0.20", "+0.40"]
    assert x.texts[-1].get_text() == "+1.70"


def test_pictures_come_in_order_and_blanks_are_left_over():
    figure = figures.picture_grid({"one": IMAGE, "two": IMAGE, "three": IMAGE}, columns=2)
    assert [ax.get_title() for ax in figure.axes] == ["one", "two", "three", ""]


def test_the_claims_are_one_to_the_left_none_and_one_to_the_right():
    (ax,) = figures.claims().axes
    assert [text.xy[0] for text in ax.texts if hasattr(text, "xy")] == [4, 3, 2]


def test_answer_and_target_share_their_axes():
    answer, target = np.ones((2, 3, 2)), np.zeros((2, 3, 2))
    left, right = figures.flow_and_target(answer, target).axes
    assert (left.get_title(), right.get_title()) == ("yours", "the target")
    assert left.get_xlim() == right.get_xlim()


def test_sent_and_received_share_one_scale():
    sent = np.random.default_rng(0).uniform(size=(3, 4, 2))
    axes = figures.sent_and_received(sent, sent / 2).axes
    assert [ax.get_title() for ax in axes] == ["sent as y", "sent as x", "received as y", "received as x"]
    assert len({ax.images[0].get_clim() for ax in axes}) == 1
