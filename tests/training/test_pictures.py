"""Pictures as a viewer shows them, in every guise that files have; what cannot be read is refused with its path."""

import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from deformconv.training import ImageFolder, pictures

HEIGHT, WIDTH = 4, 5
WHITE, RED, CLEAR = (255, 255, 255), (200, 20, 10), (0, 0, 0)


@pytest.fixture
def read(tmp_path):
    """`read(picture, suffix, **options)`: saved and read, in colour unless told, in its own size unless told."""

    def read(picture, suffix=".png", size=None, grey=False, **options):
        path = tmp_path / f"picture{suffix}"
        if isinstance(picture, bytes):
            path.write_bytes(picture)
        else:
            picture.save(path, **options)
        return pictures.read(path, size or pictures.header(path).size, grey)

    return read


def png(depth, kind, rows, before=b"", behind=b"", width=WIDTH):
    """A PNG file by hand, for what Pillow does not write: `rows` are packed bytes, `before` and `behind` chunks."""

    def chunk(name, content):
        return struct.pack(">L", len(content)) + name + content + struct.pack(">L", zlib.crc32(name + content))

    start = chunk(b"IHDR", struct.pack(">LLBBBBB", width, len(rows), depth, kind, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    chunks = [chunk(*one) if one else b"" for one in (before, behind)]
    return b"\x89PNG\r\n\x1a\n" + start + chunks[0] + pixels + chunks[1] + chunk(b"IEND", b"")


# Transparency: a red or grey spot, and nothing around it


def spotted(ground, spot, dtype="uint8"):
    array = np.full((HEIGHT, WIDTH, *np.shape(spot)), ground, dtype)
    array[1, 2] = spot
    return array


def with_palette(transparency):
    picture = Image.fromarray(spotted(0, 1), "P")
    picture.putpalette([*CLEAR, *RED])
    return picture, {"transparency": transparency}


IN_COLOUR = {
    "RGBA": (Image.fromarray(spotted((*CLEAR, 0), (*RED, 255))), {}),
    "RGB and a key": (Image.fromarray(spotted(CLEAR, RED)), {"transparency": CLEAR}),
    "a palette and one clear entry": with_palette(0),
    "a palette with an opacity for each entry": with_palette(b"\x00\xff"),
}


@pytest.mark.parametrize("picture, options", IN_COLOUR.values(), ids=IN_COLOUR)
def test_transparent_colours_show_a_white_ground(read, picture, options):
    np.testing.assert_array_equal(read(picture, **options), spotted(WHITE, RED))


@pytest.mark.parametrize("suffix", [".webp", ".tif", ".gif"])
def test_other_formats_are_as_transparent(read, suffix):
    picture, options = IN_COLOUR["RGBA"]
    found = read(picture, suffix, **options, **({"lossless": True} if suffix == ".webp" else {}))
    np.testing.assert_array_equal(found, spotted(WHITE, RED))


def test_a_palette_with_opacity_of_its_own_shows_a_white_ground(read):
    picture = with_palette(0)[0]
    picture.putalpha(Image.fromarray(spotted(0, 255)))
    assert picture.mode == "PA"
    np.testing.assert_array_equal(read(picture, ".tif"), spotted(WHITE, RED))


def test_half_transparent_is_half_white(read):
    picture = Image.new("RGBA", (WIDTH, HEIGHT), (*RED, 128))
    np.testing.assert_allclose(read(picture)[0, 0], (np.array(RED) + WHITE) / 2, atol=1)


def packed(depth, ground, spot):
    """Grey rows of so many bits a pixel: the spot where it is, in a row of 4 pixels."""
    values = spotted(ground, spot)[:, :4]
    return [bytes(np.packbits(np.unpackbits(row[:, None], axis=1)[:, -depth:].ravel())) for row in values]


def key(*values):
    return b"tRNS", struct.pack(f">{len(values)}H", *values)


def test_transparent_greys_show_a_white_ground(read):
    la = spotted((0, 0), (90, 255))
    for picture, options in (
        (Image.fromarray(la), {}),
        (Image.fromarray(spotted(0, 90)), {"transparency": 0}),
        (png(16, 0, [row.tobytes() for row in spotted(0, 90 * 257, ">u2")], key(0)), {}),
    ):
        np.testing.assert_array_equal(read(picture, grey=True, **options)[..., 0], spotted(255, 90))


@pytest.mark.parametrize("depth, clear, spot, shown", [(1, 1, 0, 0), (2, 2, 1, 85), (4, 9, 6, 102)])
def test_few_bits_and_a_key_show_a_white_ground(read, depth, clear, spot, shown):
    """The key is as the pixels are in the file, which Pillow spreads out to 8 bits."""
    found = read(png(depth, 0, packed(depth, clear, spot), key(clear), width=4), grey=True)
    np.testing.assert_array_equal(found[..., 0], spotted(255, shown)[:, :4])


def test_16_bits_of_red_green_and_blue_and_a_key_show_a_white_ground(read):
    rows = spotted((513, 514, 515), np.array(RED) * 257, ">u2")
    found = read(png(16, 2, [row.tobytes() for row in rows], key(513, 514, 515)))
    np.testing.assert_array_equal(found, spotted(WHITE, RED))


def test_a_black_shape_on_nothing_is_no_black_picture(tmp_path):
    """As logos and drawings are kept."""
    for name in "ab":
        (tmp_path / name).mkdir()
    Image.fromarray(spotted((0, 0, 0, 0), (0, 0, 0, 255))).save(tmp_path / "a" / "0.png")
    Image.new("L", (WIDTH, HEIGHT), 255).save(tmp_path / "b" / "0.png")
    assert [np.unique(image).tolist() for image in ImageFolder(tmp_path)[:]] == [[0, 255], [255]]


# Bits and colours


def test_16_bits_are_scaled_and_not_clipped(read, rng):
    values = rng.integers(0, 65536, size=(HEIGHT, WIDTH)).astype("uint16")
    wanted = np.round(values / 257)
    for suffix in (".png", ".pgm", ".tif"):
        found = read(Image.fromarray(values), suffix, grey=True)
        np.testing.assert_array_equal(found[..., 0], wanted)
    np.testing.assert_array_equal(read(Image.fromarray(values))[..., 2], wanted)


def test_16_bits_whose_zero_is_white_are_turned(read, tmp_path):
    values = np.arange(HEIGHT * WIDTH, dtype="uint16").reshape(HEIGHT, WIDTH) * 1000
    Image.fromarray(values).save(tmp_path / "black.tif")
    content = (tmp_path / "black.tif").read_bytes()
    photometric = struct.pack("<HHLHH", pictures.PHOTOMETRIC, 3, 1, 1, 0)
    assert photometric in content
    turned = content.replace(photometric, struct.pack("<HHLHH", pictures.PHOTOMETRIC, 3, 1, pictures.WHITE_IS_ZERO, 0))
    np.testing.assert_array_equal(read(turned, ".tif", grey=True)[..., 0], 255 - np.round(values / 257))


def test_inks_are_colours_in_photoshops_jpeg_too(read):
    """Pillow writes CMYK as Adobe does, upside down with a note that says so."""
    colours = np.zeros((16, 16, 3), "uint8") + np.array(RED, "uint8")
    inks = Image.fromarray(colours).convert("CMYK")
    for suffix in (".jpg", ".tif"):
        np.testing.assert_allclose(
            read(inks, suffix, **({"quality": 100} if suffix == ".jpg" else {})), colours, atol=3
        )


@pytest.mark.parametrize("mode, suffix", [("F", ".tif"), ("I", ".tif"), ("LAB", ".tif")])
def test_modes_that_are_not_taken_are_named(read, mode, suffix):
    with pytest.raises(ValueError, match=rf"picture{suffix} must have one of Pillow's modes 1, L, .*; it has '{mode}'"):
        read(Image.new(mode, (WIDTH, HEIGHT)), suffix)


def test_grey_is_what_has_grey_alone(read, tmp_path):
    for picture, grey in ((Image.new("1", (3, 2)), True), (Image.new("LA", (3, 2)), True), (with_palette(0)[0], False)):
        read(picture)
        assert pictures.header(tmp_path / "picture.png").grey == grey


# Upright


def exif(*entries):
    """EXIF's bytes: entries are (tag, type, count, four bytes)."""
    body = b"".join(struct.pack("<HHL4s", *entry) for entry in entries)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + bytes(4) + struct.pack("<LL", 1, 3)


def held(orientation):
    return 0x112, 3, 1, struct.pack("<HH", orientation, 0)


UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a),
}


@pytest.fixture
def array(rng):
    return rng.integers(0, 256, size=(HEIGHT, WIDTH, 3)).astype("uint8")


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_a_picture_is_turned_as_the_camera_was(read, array, orientation, suffix):
    options = {"exif": exif(held(orientation))} if suffix != ".tif" else {"tiffinfo": {0x112: orientation}}
    options |= {"lossless": True} if suffix == ".webp" else {}
    np.testing.assert_array_equal(read(Image.fromarray(array), suffix, **options), UPRIGHT[orientation](array))


ODD = {
    "a text that is a ratio": (held(6), (0x131, 5, 1, struct.pack("<L", 38))),
    "a text beyond the end, in front": ((0x10E, 2, 20, struct.pack("<L", 5000)), held(6)),
    "a text longer than all, in front": ((0x10E, 2, 999, struct.pack("<L", 50)), held(6)),
    "a type that there is not": ((0x10E, 77, 1, bytes(4)), held(6)),
    "a long one": ((0x112, 4, 1, struct.pack("<L", 6)),),
}


@pytest.mark.parametrize("entries", ODD.values(), ids=ODD)
@pytest.mark.filterwarnings("ignore")  # Pillow's, of the same
def test_odd_notes_beside_it_do_not_matter(read, array, entries):
    np.testing.assert_array_equal(read(Image.fromarray(array), exif=exif(*entries)), np.rot90(array, -1))


@pytest.mark.parametrize("noted", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\0\0", b"Exif\0\0nonsense", exif(held(9))])
@pytest.mark.filterwarnings("ignore")
def test_notes_that_say_nothing_leave_the_picture(read, array, noted):
    np.testing.assert_array_equal(read(Image.fromarray(array), exif=noted), array)


def test_a_note_behind_the_pixels_is_read(read, array):
    content = png(8, 2, [row.tobytes() for row in array], behind=(b"eXIf", exif(held(6))[6:]))
    np.testing.assert_array_equal(read(content), np.rot90(array, -1))


def test_the_size_of_a_plain_file_is_told_without_its_pixels(tmp_path, array, monkeypatch):
    suffixes = (".png", ".jpg", ".bmp", ".gif", ".tif", ".webp", ".ppm")
    for suffix in suffixes:
        Image.fromarray(array).save(tmp_path / f"picture{suffix}")
    loaded = []
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda picture: loaded.append(picture))
    for suffix in suffixes:
        assert pictures.header(tmp_path / f"picture{suffix}") == pictures.Header((HEIGHT, WIDTH), False, False)
    assert not loaded


# Sizes, frames


@pytest.mark.parametrize("height, width", [(1, 300), (300, 1)])
def test_a_very_narrow_picture_keeps_a_line(read, height, width):
    found = read(Image.new("L", (width, height), 255), size=(10, 12), grey=True)[..., 0]
    assert found.shape == (10, 12)
    lit = found == 255
    assert lit.sum() == (12 if height == 1 else 10) and (lit.all(1).any() or lit.all(0).any())


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".tif"])
def test_of_frames_the_first_is_taken_and_said_once(tmp_path, suffix):
    frames = [Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in (RED, WHITE, CLEAR)]
    lossless = {"lossless": True} if suffix == ".webp" else {}
    for name in "ab":
        (tmp_path / name).mkdir()
        for i in range(2):
            frames[0].save(tmp_path / name / f"{i}{suffix}", save_all=True, append_images=frames[1:], **lossless)
    frames[0].save(tmp_path / "b" / f"2{suffix}", **lossless)
    with pytest.warns(UserWarning) as told:
        images = ImageFolder(tmp_path)
    np.testing.assert_array_equal(images[:], np.full((5, HEIGHT, WIDTH, 3), RED))
    names = ", ".join(f"{name}{suffix}" for name in ("a/0", "a/1", "b/0"))
    (line,) = (str(one.message) for one in told)
    assert line.endswith(f": 4 with more than one frame, of which the first is taken: {names} and 1 more.")
    assert len(images.moving) == 4


# Refused


def test_a_bomb_is_refused_before_its_pixels_are_read(read, tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", HEIGHT * WIDTH // 2 - 1)
    loaded = []
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda picture: loaded.append(picture))
    with pytest.raises(ValueError, match="^[^\n]*picture.png cannot be read as a picture .Image size .20 pixels"):
        read(png(8, 0, [bytes(WIDTH)] * HEIGHT))
    assert not loaded


def test_a_file_of_another_kind_is_refused_whatever_its_name(read):
    for content in (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 5 4\n", b"<svg/>", b""):
        with pytest.raises(ValueError, match="picture.png cannot be read as a picture .cannot identify"):
            read(content)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".gif", ".tif", ".webp", ".ppm"])
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_file_is_read_or_refused_in_a_line_with_its_path(tmp_path, array, rng, suffix):
    path = tmp_path / f"picture{suffix}"
    Image.fromarray(array).save(path)
    whole = path.read_bytes()
    damaged = [whole[:length] for length in range(0, len(whole), 7)]
    for at in rng.integers(0, len(whole), size=100):
        damaged.append(whole[:at] + bytes([whole[at] ^ 1 << rng.integers(8)]) + whole[at + 1 :])
    refused = 0
    for content in damaged:
        path.write_bytes(content)
        try:
            size = pictures.header(path).size
            assert pictures.read(path, (3, 2), False).shape == (3, 2, 3) and min(size) > 0
        except ValueError as error:
            assert str(error).startswith(str(path)) and "\n" not in str(error)
            refused += 1
    assert refused > 10


# Beside the pictures


def test_what_lies_beside_is_no_class_and_is_counted(tmp_path):
    for name in ("a", "b", "__MACOSX", "@eaDir", ".git", "a/@eaDir"):
        (tmp_path / name).mkdir()
        Image.new("L", (WIDTH, HEIGHT)).save(tmp_path / name / "0.png")
    for name in ("Thumbs.db", "a/.DS_Store", "a/._0.png", "b/notes.heic"):
        (tmp_path / name).touch()
    with pytest.warns(UserWarning) as told:
        images = ImageFolder(tmp_path)
    assert images.classes == ["a", "b"] and len(images) == 2
    (line,) = (str(one.message) for one in told)
    left_out = ".git, @eaDir, Thumbs.db and 5 more"
    assert line == f"{tmp_path}: 8 left out as no pictures of a class: {left_out}.", line


def test_a_tidy_folder_is_read_without_a_word(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        Image.new("L", (WIDTH, HEIGHT)).save(tmp_path / name / "0.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ImageFolder(tmp_path).left_out == []
