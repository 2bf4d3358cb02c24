//! A picture of a page made small: at most 256 colours, which is nearly all that a page without photographs has.
//!
//! Of the PNG format it reads what Chromium writes (8 bits a channel, RGB or RGBA, not interlaced) and writes one with a palette.

use std::{
    collections::HashMap,
    io::{Read as _, Write as _},
};

use flate2::{Compression, Crc, read::ZlibDecoder, write::ZlibEncoder};

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
type Colour = [u8; 3];

/// The same picture in fewer bytes.
pub(crate) fn smaller(png: &[u8]) -> Vec<u8> {
    let (width, height, pixels) = read(png);
    let mut counts: HashMap<Colour, u32> = HashMap::new();
    pixels.iter().for_each(|pixel| *counts.entry(*pixel).or_default() += 1);
    let palette = palette(&counts);
    let places: HashMap<Colour, u8> =
        counts.keys().map(|colour| (*colour, nearest(&palette, colour).0 as u8)).collect();
    let mut lines = ZlibEncoder::new(Vec::new(), Compression::best());
    for line in pixels.chunks(width) {
        let line: Vec<u8> = std::iter::once(0).chain(line.iter().map(|pixel| places[pixel])).collect();
        lines.write_all(&line).unwrap();
    }
    let mut head = [(width as u32).to_be_bytes(), (height as u32).to_be_bytes()].concat();
    head.extend([8, 3, 0, 0, 0]);
    let mut out = SIGNATURE.to_vec();
    for (kind, data) in
        [(b"IHDR", head), (b"PLTE", palette.concat()), (b"IDAT", lines.finish().unwrap()), (b"IEND", Vec::new())]
    {
        let mut crc = Crc::new();
        crc.update(kind);
        crc.update(&data);
        out.extend((data.len() as u32).to_be_bytes());
        out.extend(kind);
        out.extend(&data);
        out.extend(crc.sum().to_be_bytes());
    }
    out
}

fn read(png: &[u8]) -> (usize, usize, Vec<Colour>) {
    let mut rest = png.strip_prefix(SIGNATURE).expect("a PNG");
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
    let (mut width, mut height, mut channels, mut packed) = (0, 0, 0, Vec::new());
    while rest.len() >= 12 {
        let length = number(rest);
        let data = &rest[8..8 + length];
        match &rest[4..8] {
            b"IHDR" => {
                (width, height) = (number(data), number(&data[4..]));
                channels = match data[8..13] {
                    [8, 2, 0, 0, 0] => 3,
                    [8, 6, 0, 0, 0] => 4,
                    _ => panic!("another kind of PNG: {:?}", &data[8..13]),
                };
            }
            b"IDAT" => packed.extend(data),
            _ => {}
        }
        rest = &rest[12 + length..];
    }
    let mut bytes = Vec::new();
    ZlibDecoder::new(&*packed).read_to_end(&mut bytes).unwrap();
    let stride = width * channels;
    let mut pixels = Vec::with_capacity(width * height);
    let mut above = vec![0_u8; stride];
    for line in bytes.chunks_exact(stride + 1) {
        let (filter, mut line) = (line[0], line[1..].to_vec());
        for at in 0..stride {
            let left = if at >= channels { line[at - channels] } else { 0 };
            let corner = if at >= channels { above[at - channels] } else { 0 };
            let up = above[at];
            let expected = match filter {
                0 => 0,
                1 => left,
                2 => up,
                3 => ((u16::from(left) + u16::from(up)) / 2) as u8,
                _ => paeth(left, up, corner),
            };
            line[at] = line[at].wrapping_add(expected);
        }
        pixels.extend(line.chunks_exact(channels).map(|pixel| [pixel[0], pixel[1], pixel[2]]));
        above = line;
    }
    (width, height, pixels)
}

fn paeth(left: u8, up: u8, corner: u8) -> u8 {
    let expected = i16::from(left) + i16::from(up) - i16::from(corner);
    let off = |from: u8| (expected - i16::from(from)).abs();
    if off(left) <= off(up) && off(left) <= off(corner) {
        left
    } else if off(up) <= off(corner) {
        up
    } else {
        corner
    }
}

/// Those that are seen most, each some way from those that are in it already, so that rare ones have their place too.
fn palette(counts: &HashMap<Colour, u32>) -> Vec<Colour> {
    let mut all: Vec<(&Colour, &u32)> = counts.iter().collect();
    all.sort_by_key(|(colour, count)| (std::cmp::Reverse(**count), **colour));
    for apart in [0, 24, 60, 120, 240, 480] {
        let mut chosen: Vec<Colour> = Vec::new();
        for (colour, _) in &all {
            if chosen.is_empty() || nearest(&chosen, colour).1 > apart {
                chosen.push(**colour);
            }
            if chosen.len() > 256 {
                break;
            }
        }
        if chosen.len() <= 256 {
            return chosen;
        }
    }
    all.into_iter().map(|(colour, _)| *colour).take(256).collect()
}

/// Its place, and how far away it is, squared.
fn nearest(palette: &[Colour], colour: &Colour) -> (usize, u32) {
    let off = |known: &Colour| -> u32 {
        known.iter().zip(colour).map(|(one, other)| u32::from(one.abs_diff(*other)).pow(2)).sum()
    };
    palette.iter().map(off).enumerate().min_by_key(|(_, off)| *off).unwrap()
}

#[test]
fn a_picture_keeps_its_size_and_its_colours() {
    // Two lines of three: one filtered by what is left of it, one by what is above.
    let lines: [&[u8]; 2] = [&[1, 10, 20, 30, 0, 0, 0, 5, 5, 5], &[2, 0, 0, 0, 0, 0, 0, 200, 0, 0]];
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::fast());
    lines.iter().for_each(|line| packed.write_all(line).unwrap());
    let mut png = SIGNATURE.to_vec();
    let head = [0, 0, 0, 3, 0, 0, 0, 2, 8, 2, 0, 0, 0].to_vec();
    for (kind, data) in [(b"IHDR", head), (b"IDAT", packed.finish().unwrap()), (b"IEND", Vec::new())] {
        png.extend((data.len() as u32).to_be_bytes());
        png.extend(kind);
        png.extend(&data);
        png.extend([0; 4]);
    }
    let (width, height, pixels) = read(&png);
    assert_eq!((width, height), (3, 2));
    let (first, last) = ([10, 20, 30], [15, 25, 35]);
    assert_eq!(pixels, [first, first, last, first, first, [215, 25, 35]]);
    let small = smaller(&png);
    let at = small.windows(4).position(|window| window == b"PLTE").unwrap();
    assert_eq!(small[at - 4..at], 9_u32.to_be_bytes(), "three colours");
    assert_eq!(small[at + 4..at + 7], first, "the commonest first");
}
