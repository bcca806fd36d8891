//! A polling body keeps its limits, and the packets in it survive being joined again.

#![no_main]

use confab_gateway_protocol::engineio::{PayloadEncoder, PayloadLimits, decode_payload};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let limits = PayloadLimits {
        max_bytes: 4096,
        max_packets: 16,
    };
    let Ok(packets) = decode_payload(body, limits) else {
        return;
    };
    let packets: Vec<_> = packets.collect();
    assert!(body.len() <= limits.max_bytes && packets.len() <= limits.max_packets);

    let packets: Vec<_> = packets.into_iter().filter_map(Result::ok).collect();
    let mut encoder = PayloadEncoder::new(usize::MAX);
    for packet in &packets {
        encoder.push(packet).expect("there is no limit");
    }
    let joined = encoder.finish();
    if packets.is_empty() {
        return;
    }
    let no_limits = PayloadLimits {
        max_bytes: usize::MAX,
        max_packets: usize::MAX,
    };
    let again: Result<Vec<_>, _> = decode_payload(&joined, no_limits)
        .expect("decodes again")
        .collect();
    assert_eq!(again.expect("every packet decodes again"), packets);
});
