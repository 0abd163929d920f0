//! The parts of pictures: colours, lines, boxes and text.

use std::fmt;

pub(crate) const LIMITED: &str = "#dc2626";
// A picture has no background, so these colours must be readable on a white page and on a dark one.
pub(crate) const INK: &str = "#6e7781";
pub(crate) const PALE: &str = "#7d8590";
pub(crate) const GRID: &str = "#80808040";

/// Opens a picture without a background, `width` by `height`.
pub(crate) fn open(f: &mut fmt::Formatter<'_>, width: f64, height: f64) -> fmt::Result {
    writeln!(
        f,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="Inter, Helvetica, Arial, sans-serif">"#
    )
}

pub(crate) fn close(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("</svg>\n")
}

pub(crate) fn line(
    f: &mut fmt::Formatter<'_>,
    ends: [(f64, f64); 2],
    colour: &str,
    width: f64,
) -> fmt::Result {
    let [(x1, y1), (x2, y2)] = ends;
    writeln!(
        f,
        r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{colour}" stroke-width="{width}"/>"#
    )
}

pub(crate) fn rect(
    f: &mut fmt::Formatter<'_>,
    x: f64,
    y: f64,
    width: f64,
    height: f64,
    colour: &str,
) -> fmt::Result {
    writeln!(
        f,
        r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" fill="{colour}"/>"#
    )
}

pub(crate) fn text(
    f: &mut fmt::Formatter<'_>,
    x: f64,
    y: f64,
    anchor: &str,
    colour: &str,
    size: u8,
    what: &str,
) -> fmt::Result {
    writeln!(
        f,
        r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" fill="{colour}" font-size="{size}">{what}</text>"#
    )
}
