//! RFC 6455, where the library leaves it to us: masks, fragments, sizes, control frames, extensions.

use crate::raw::{Echo, frame};

#[test]
fn unmasked_frames_end_the_session() {
    let echo = Echo::start();
    let mut raw = echo.session("/engine.io/");
    raw.send_raw(&frame(true, 1, b"4hello", None));
    assert_eq!(raw.closed(), Some(1002));
}

#[test]
fn fragments_are_one_message_and_control_frames_may_come_between() {
    let echo = Echo::start();
    let mut raw = echo.session("/engine.io/");
    raw.send(false, 1, b"4he");
    raw.send(true, 9, b"are you there");
    raw.send(false, 0, b"ll");
    raw.send(true, 0, b"o");
    let pong = raw.frame().unwrap();
    assert_eq!(
        (pong.opcode, pong.payload.as_slice()),
        (10, b"are you there".as_slice())
    );
    assert_eq!(raw.text(), "4hello");
}

#[test]
fn a_frame_may_come_byte_by_byte_and_two_at_once() {
    let echo = Echo::start();
    let mut raw = echo.session("/engine.io/");
    for byte in frame(true, 1, b"4slow", Some([9, 8, 7, 6])) {
        raw.send_raw(&[byte]);
    }
    assert_eq!(raw.text(), "4slow");
    let mut both = frame(true, 1, b"4one", Some([9, 8, 7, 6]));
    both.extend(frame(true, 1, b"4two", Some([1, 2, 3, 4])));
    raw.send_raw(&both);
    assert_eq!((raw.text().as_str(), raw.text().as_str()), ("4one", "4two"));
}

#[test]
fn too_large_a_message_ends_the_session_whole_or_in_parts() {
    let echo = Echo::with(&["--max-payload", "1000"]);
    let mut raw = echo.session("/engine.io/");
    let fits = format!("4{}", "x".repeat(999));
    raw.send_text(&fits);
    assert_eq!(raw.text(), fits);
    raw.send_text(&format!("{fits}x"));
    assert_eq!(raw.closed(), Some(1009));
    let mut raw = echo.session("/engine.io/");
    raw.send(false, 1, b"4");
    for _ in 0..3 {
        raw.send(false, 0, &[b'4'; 400]);
    }
    assert_eq!(raw.closed(), Some(1009));
}

#[test]
fn extensions_bad_text_and_stray_fragments_end_the_session() {
    let echo = Echo::start();
    for bytes in [
        frame(true, 1 | 0x40, b"4compressed", Some([1, 2, 3, 4])), // RSV1
        frame(true, 1, b"4\xff\xfe", Some([1, 2, 3, 4])),          // no UTF-8
        frame(true, 0, b"4stray", Some([1, 2, 3, 4])),             // a continuation of nothing
        frame(true, 3, b"", Some([1, 2, 3, 4])),                   // a reserved opcode
        frame(false, 9, b"", Some([1, 2, 3, 4])),                  // a fragmented ping
    ] {
        let mut raw = echo.session("/engine.io/");
        raw.send_raw(&bytes);
        assert_eq!(raw.closed(), Some(1002), "{bytes:?}");
    }
}

#[test]
fn a_close_frame_is_answered_once() {
    let echo = Echo::start();
    let mut raw = echo.session("/engine.io/");
    raw.send(true, 8, &1000_u16.to_be_bytes());
    assert_eq!(raw.closed(), Some(1000));
}

#[test]
fn a_client_that_stops_reading_is_closed_within_its_queue_bound() {
    let echo = Echo::with(&["--send-queue-bytes", "65536", "--ping-timeout-ms", "60000"]);
    let mut neighbour = echo.session("/engine.io/");
    let mut raw = echo.session("/engine.io/");
    let message = frame(
        true,
        1,
        format!("4{}", "x".repeat(9_999)).as_bytes(),
        Some([1, 2, 3, 4]),
    );
    // What the kernel buffers for both sides, the queue and its burst are some megabytes: far less than this.
    let sent = (0..40_000)
        .take_while(|_| raw.try_send_raw(&message))
        .count();
    assert!(
        sent < 40_000,
        "the server took {sent} messages for a client that reads none"
    );
    neighbour.send_text("4still served");
    assert_eq!(neighbour.text(), "4still served");
}
