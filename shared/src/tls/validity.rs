//! Until when certificates are good.
//!
//! The one thing of a certificate that whoever shows it has to know. It is read by its place (RFC 5280, 4.1): the authority's and the
//! client's business is everything else.

use rustls::pki_types::CertificateDer;
use time::{Date, Month};

/// DER's tags (X.690).
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// What stands before the times in a certificate, apart from its version: serial number, algorithm, issuer.
const BEFORE_VALIDITY: usize = 3;

/// When the first of these certificates is over, in seconds since 1970. None if one of them does not say so in a way that can be read.
pub fn good_until(chain: &[CertificateDer<'_>]) -> Option<i64> {
    let ends: Option<Vec<i64>> = chain.iter().map(|one| not_after(one)).collect();
    ends?.into_iter().min()
}

fn not_after(certificate: &[u8]) -> Option<i64> {
    let mut signed = inside(inside(certificate, SEQUENCE)?, SEQUENCE)?;
    if let Some((VERSION, _, rest)) = element(signed) {
        signed = rest;
    }
    for _ in 0..BEFORE_VALIDITY {
        (_, _, signed) = element(signed)?;
    }
    let (_, _, rest) = element(inside(signed, SEQUENCE)?)?;
    let (tag, end, _) = element(rest)?;
    moment(tag, std::str::from_utf8(end).ok()?)
}

/// What is in the first element, if it is one of these.
fn inside(bytes: &[u8], wanted: u8) -> Option<&[u8]> {
    let (tag, content, _) = element(bytes)?;
    (tag == wanted).then_some(content)
}

/// The first element: its tag, its content, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = if *first < 0x80 {
        (usize::from(*first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        let length = digits.iter().try_fold(0_usize, |length, digit| {
            length.checked_mul(256)?.checked_add(usize::from(*digit))
        });
        (length?, rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

/// A time of either form, always of Greenwich and to the second: `YYMMDDhhmmssZ`, which is of 1950 to 2049, or `YYYYMMDDhhmmssZ`.
fn moment(tag: u8, text: &str) -> Option<i64> {
    let digits = text.strip_suffix('Z')?;
    let digits = match tag {
        UTC_TIME => {
            let century = if digits.get(..2)? < "50" { "20" } else { "19" };
            format!("{century}{digits}")
        }
        GENERALIZED_TIME => digits.to_owned(),
        _ => return None,
    };
    let is_plain = digits.len() == 14 && digits.bytes().all(|digit| digit.is_ascii_digit());
    let part = |from: usize, to: usize| digits.get(from..to)?.parse::<u8>().ok();
    let year = digits.get(..4).filter(|_| is_plain)?.parse().ok()?;
    let month = Month::try_from(part(4, 6)?).ok()?;
    let day = Date::from_calendar_date(year, month, part(6, 8)?).ok()?;
    let moment = day.with_hms(part(8, 10)?, part(10, 12)?, part(12, 14)?);
    Some(moment.ok()?.assume_utc().unix_timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An element with this content.
    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![tag];
        match u8::try_from(content.len()) {
            Ok(length) if length < 0x80 => bytes.push(length),
            _ => {
                bytes.push(0x82);
                bytes.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
            }
        }
        bytes.extend(content);
        bytes
    }

    fn certificate(version: &[u8], end: &[u8]) -> CertificateDer<'static> {
        let validity = [der(UTC_TIME, b"250101000000Z"), end.to_vec()].concat();
        let signed = [
            version.to_vec(),
            der(0x02, &[1; 20]),
            der(SEQUENCE, &[]),
            der(SEQUENCE, &[7; 300]),
            der(SEQUENCE, &validity),
            der(SEQUENCE, &[]),
        ];
        let signed = der(SEQUENCE, &signed.concat());
        CertificateDer::from(der(SEQUENCE, &[signed, der(0x03, &[0; 70])].concat()))
    }

    #[test]
    fn the_first_end_of_a_chain_is_told() {
        let version = der(VERSION, &der(0x02, &[2]));
        let soon = certificate(&version, &der(UTC_TIME, b"260102030405Z"));
        let later = certificate(&[], &der(GENERALIZED_TIME, b"20500101000000Z"));
        assert_eq!(
            good_until(std::slice::from_ref(&later)),
            Some(2_524_608_000)
        );
        assert_eq!(good_until(&[later, soon]), Some(1_767_323_045));
        assert_eq!(moment(UTC_TIME, "700101000000Z"), Some(0));
    }

    #[test]
    fn what_cannot_be_read_is_not_guessed() {
        let good = certificate(&[], &der(UTC_TIME, b"260102030405Z"));
        for length in 0..good.len() {
            assert_eq!(not_after(&good[..length]), None, "{length}");
        }
        for end in [
            "2601020304Z",
            "261302030405Z",
            "260102030405+0100",
            "+60102030405Z",
            "",
        ] {
            assert_eq!(moment(UTC_TIME, end), None, "{end}");
        }
        assert_eq!(element(&[0x30, 0xff, 1]), None);
        assert_eq!(element(&[0x30, 0x89, 1, 1, 1, 1, 1, 1, 1, 1, 1]), None);
        assert_eq!(good_until(&[]), None);
    }
}
