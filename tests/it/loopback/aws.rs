//! Amazon's event stream.

use bytes::Bytes;

/// Returns a message of Amazon's event stream: lengths, checksum, headers, payload, checksum.
pub(crate) fn message<'a>(
    pairs: impl Iterator<Item = (&'a str, &'a str)>,
    payload: &[u8],
) -> Bytes {
    const STRING: u8 = 7;
    let mut headers = Vec::new();
    for (name, value) in pairs {
        headers.push(u8::try_from(name.len()).unwrap());
        headers.extend_from_slice(name.as_bytes());
        headers.push(STRING);
        headers.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
        headers.extend_from_slice(value.as_bytes());
    }
    let word = |number: usize| u32::try_from(number).unwrap().to_be_bytes();
    let mut message = Vec::new();
    message.extend_from_slice(&word(16 + headers.len() + payload.len()));
    message.extend_from_slice(&word(headers.len()));
    message.extend_from_slice(&crc32(&message).to_be_bytes());
    message.extend_from_slice(&headers);
    message.extend_from_slice(payload);
    message.extend_from_slice(&crc32(&message).to_be_bytes());
    Bytes::from(message)
}

/// Returns the CRC-32 of zlib, computed bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
    let add = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc));
    !bytes.iter().fold(!0, add)
}
